"""For operators: publishing the rules of the market and its tariffs; for all who take part, reading them.

What is published is an event of the book for ever. `dry_run` tells what would change and from when on, and
writes nothing. With an Idempotency-Key a publication may be sent again.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter, RequestBody

from api.http.backend import Backend
from api.http.caching import told
from api.http.guard import MEMBERS
from api.http.market_desk import MarketDesk
from api.http.market_shapes import (
    NewRules,
    NewTariff,
    Publication,
    PublishedRules,
    PublishedTariff,
    RulesAnswer,
    TariffAnswer,
    TariffText,
    publications,
    rules_list,
    tariff_list,
)
from api.http.pages import Cursor, Limit, Page, shaped_page_of
from api.http.problems import NotThere
from ledger.market_events import TariffPublished
from ledger.postgres.audit import AuditStore

OPERATOR = frozenset({"operator"})
NUMBER_MAX = 2**53

Req = Request[Any, Any, State]
Published = TypeVar("Published", PublishedRules, PublishedTariff)
NumberPath = Annotated[
    int, PathParameter(ge=1, le=NUMBER_MAX, description="The publication's number, as the list tells it.")
]
DryRun = Annotated[bool, QueryParameter(description="Tell what would come of it, and write nothing.")]


async def _published(state: State) -> list[Publication]:
    backend: Backend = state.backend
    return publications(await AuditStore(backend.pool.whole, backend.community).market())


def _today(state: State) -> date:
    backend: Backend = state.backend
    return backend.clock.now().astimezone(ZoneInfo(backend.book.community.zone)).date()


def _currency(state: State) -> str:
    backend: Backend = state.backend
    return backend.book.community.currency


async def _numbered(every: Sequence[Published], limit: int, after: str) -> Page[Published]:
    """A page of what was published, by its numbers."""

    async def read(key: Sequence[Any], most: int) -> Sequence[Published]:
        return [each for each in every if each.number > key[0]][:most]

    return await shaped_page_of(after, limit, (0,), read, lambda each: (each.number,))


def _desk(state: State) -> MarketDesk:
    return MarketDesk(state.backend, state.desk)


# --- rules ---------------------------------------------------------------------------------------------


@get("/rules", may=MEMBERS, has_etag=True, summary="Rules as published, the first ones first")
async def rules(
    request: Req, state: State, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[PublishedRules]]:
    """Rules in order of the instant from which they hold, which is that of their publication."""
    every = rules_list(await _published(state), _currency(state))
    return told(request, await _numbered(every, limit, after))


@get("/rules/{number:int}", may=MEMBERS, has_etag=True, summary="Rules by their number")
async def rules_of(request: Req, state: State, number: NumberPath) -> Response[PublishedRules]:
    """One publication."""
    every = rules_list(await _published(state), _currency(state))
    found = next((each for each in every if each.number == number), None)
    if found is None:
        raise NotThere("no rules were published under this number", where=str(number))
    return told(request, found)


@post(
    "/rules",
    may=OPERATOR,
    status_code=201,
    summary="Publish rules",
    responses={200: ResponseSpec(RulesAnswer, False, "Nothing was written")},
)
async def publish_rules(
    state: State, data: RequestBody[NewRules], dry_run: DryRun = False
) -> Response[RulesAnswer]:
    """Let the market go by other rules from an instant on. 201 once they are in the book; 200 for a dry run,
    and where the newest rules say the same. They are judged as `provision` judges those of the settings file:
    409 `gate-closed` for an instant whose orders are sealed or that has passed, `contradiction` for one that
    is not after the newest rules; 422 for what nobody could settle by."""
    answer = await _desk(state).rules(data, dry_run=dry_run)
    return Response(answer, status_code=201 if answer.published else 200)


# --- tariffs -------------------------------------------------------------------------------------------


@get("/tariffs", may=MEMBERS, has_etag=True, summary="Tariffs as published, the first one first")
async def tariffs(
    request: Req, state: State, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[PublishedTariff]]:
    """Every publication, with how far each part of it is known from today on."""
    every = tariff_list(await _published(state), _today(state))
    return told(request, await _numbered(every, limit, after))


@get("/tariffs/{number:int}", may=MEMBERS, has_etag=True, summary="A tariff with its texts")
async def tariff_of(request: Req, state: State, number: NumberPath) -> Response[TariffText]:
    """One publication with its document and those beside it, exactly as they stand in the book."""
    every = await _published(state)
    shape = next((each for each in tariff_list(every, _today(state)) if each.number == number), None)
    if shape is None:
        raise NotThere("no tariff was published under this number", where=str(number))
    event = next(each.event for each in every if each.row.sequence == number)
    assert isinstance(event, TariffPublished)  # noqa: S101 - it has a shape
    return told(request, TariffText(shape, event.document, event.beside))


@post(
    "/tariffs",
    may=OPERATOR,
    status_code=201,
    summary="Publish a tariff",
    responses={200: ResponseSpec(TariffAnswer, False, "Nothing was written")},
)
async def publish_tariff(
    state: State, data: RequestBody[NewTariff], dry_run: DryRun = False
) -> Response[TariffAnswer]:
    """Publish a tariff, or publish one anew, which corrects it: what was settled by other terms is settled
    again. 201 once it is in the book; 200 for a dry run, and where the newest publication has the same texts.
    It is judged as `provision` judges that of the settings file: 422 for what cannot be read, is in another
    currency or time zone, or has no single price."""
    answer = await _desk(state).tariff(data, dry_run=dry_run)
    return Response(answer, status_code=201 if answer.published else 200)


router = Router(
    "/market",
    route_handlers=[rules, rules_of, publish_rules, tariffs, tariff_of, publish_tariff],
    tags=["Market"],
)
