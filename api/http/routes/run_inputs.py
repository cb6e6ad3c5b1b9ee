"""For whoever would repeat a settlement run: what it was computed from, and what it must come to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.datastructures import State
from litestar.params import PathParameter

from api.http.backend import Backend
from api.http.billing_shapes import RunShape, run_shape
from api.http.caching import told
from api.http.market_shapes import Publication, publications
from api.http.problems import NotThere
from api.http.routes.market import NUMBER_MAX
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.postgres.audit import AuditStore
from ledger.postgres.issued import IssuedStore
from ledger.settlement_rows import RunRow

READERS = frozenset({"operator", "auditor", "billing"})

Req = Request[Any, Any, State]


class CountedEvent(msgspec.Struct, frozen=True):
    """The event that published rules or a tariff: `digest` is the SHA-256 of its body, `number` its sequence
    in the stream `market`. It stands at `position` in the log and is shown at `link`."""

    number: int
    position: int
    digest: str
    link: str


class HoldingRules(msgspec.Struct, frozen=True):
    """Rules that held from `begin` to `until`; `until` is none where no others follow."""

    begin: datetime
    until: datetime | None
    tariff: str
    published: CountedEvent


class CountedTariff(msgspec.Struct, frozen=True):
    """A tariff, as the newest publication that the run could know tells it."""

    tariff: str
    published: CountedEvent


class RunInputs(msgspec.Struct, frozen=True):
    """What a run was computed from: the first `tree_size` events of the log, whose root is `root`, and among
    these the rules and tariffs named here; `rules` of the run is the digest over all of them. Whoever
    computes it again must come to its `result`. `repeat` are the commands that do so, wherever they are run.
    """

    run: RunShape
    rules: list[HoldingRules]
    tariffs: list[CountedTariff]
    repeat: list[str]


@get("/runs/{number:int}/inputs", may=READERS, has_etag=True, summary="What a run was computed from")
async def inputs(
    request: Req,
    state: State,
    number: Annotated[int, PathParameter(ge=1, le=NUMBER_MAX, description="The run's number.")],
) -> Response[RunInputs]:
    """Size and root of the log that the run counted, the rules and tariffs that were in force with the events
    that published them, the digest of what it came to, and how to repeat it."""
    backend: Backend = state.backend
    run = await IssuedStore(backend.pool, backend.community).run(number)
    if run is None:
        raise NotThere("there is no such run", where=str(number))
    known = [
        each for each in publications(await AuditStore(backend.pool, backend.community).market())
        if each.row.position < run.tree_size
    ]  # fmt: skip
    base = f"/v1/communities/{backend.community}/market"
    rules = _rules(known, run, base)
    named = {each.tariff for each in rules}
    newest = {
        each.event.tariff: _counted(each, f"{base}/tariffs")
        for each in known
        if isinstance(each.event, TariffPublished) and each.event.tariff in named
    }
    tariffs = [CountedTariff(name, newest[name]) for name in sorted(newest)]
    file = f"{backend.community}.jsonl"
    repeat = [f"energy-ledger export --out {file}", f"energy-ledger verify {file} --log-key KEY"]
    return told(request, RunInputs(run_shape(run), rules, tariffs, repeat))


def _rules(known: Sequence[Publication], run: RunRow, base: str) -> list[HoldingRules]:
    """Those that held in an interval of the run, by what the book had said until it was computed."""
    found = [(each, each.event) for each in known if isinstance(each.event, MarketRulesPublished)]
    ends = [*(event.begin for _, event in found[1:]), None]
    return [
        HoldingRules(event.begin, end, event.tariff, _counted(each, f"{base}/rules"))
        for (each, event), end in zip(found, ends, strict=True)
        if event.begin < run.until and (end is None or end > run.begin)
    ]


def _counted(each: Publication, base: str) -> CountedEvent:
    row = each.row
    return CountedEvent(row.sequence, row.position, row.body_hash.hex(), f"{base}/{row.sequence}")


router = Router("/", route_handlers=[inputs], tags=["Billing"])
