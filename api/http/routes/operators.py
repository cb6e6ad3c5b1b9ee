"""For whoever runs a campus: what takes part, what alarms, what waits in quarantine, who asked for what."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from api.http.backend import Backend
from api.http.caching import told
from api.http.guard import MEMBERS
from api.http.operator_shapes import (
    AlarmShape,
    MarketShape,
    MessageShape,
    Quarantined,
    RequestShape,
    alarm_shape,
    message_shape,
    quarantined,
    request_shape,
    rules_shape,
    tariff_shape,
)
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.principal import Principal
from api.http.problems import NotThere
from ledger.entry import is_name
from ledger.errors import BadInput, Contradiction
from ledger.postgres.inspection import Inspection
from ledger.postgres.quarantine_store import QuarantineStore

OPERATOR = frozenset({"operator"})
NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
POSITION_MAX = 2**63 - 1

Req = Request[Any, Any, State]
Digest = Annotated[
    str, PathParameter(pattern=r"^[0-9a-f]{64}\Z", description="The message's SHA-256, in hex.")
]


class NotWaiting(Contradiction):
    """A message in quarantine that waits no longer."""

    code = "not-waiting"


class NoSender(BadInput):
    """A message that came in under a name that no device can have."""

    code = "no-sender"


def _inspection(state: State) -> Inspection:
    backend: Backend = state.backend
    return Inspection(backend.pool, backend.community)


def _quarantine(state: State) -> QuarantineStore:
    backend: Backend = state.backend
    return QuarantineStore(backend.pool, backend.community)


# --- what there is -------------------------------------------------------------------------------------


@get("/alarms", may=OPERATOR, summary="Alarms, the newest first")
async def alarms(state: State, limit: Limit = 100, after: Cursor = "") -> Page[AlarmShape]:
    """What gateways raised: registers that went back or jumped, meters that do not answer, clocks."""
    return await page_of(
        after, limit, (POSITION_MAX,), _inspection(state).alarms, alarm_shape, lambda row: (row.position,)
    )


@get("/market", may=MEMBERS, has_etag=True, summary="Rules and tariffs as published")
async def market(request: Req, state: State) -> Response[MarketShape]:
    """The rules in order of the instant from which they hold, and the tariffs by name with how far each of
    their parts is known."""
    backend: Backend = state.backend
    community = backend.book.community
    published = await Inspection(backend.pool.whole, backend.community).market()
    today = backend.clock.now().astimezone(ZoneInfo(community.zone)).date()
    shape = MarketShape(
        [rules_shape(each, community.currency) for each in published.rules],
        [tariff_shape(each, today) for each in published.tariffs],
    )
    return told(request, shape)


@get("/requests", may=OPERATOR, summary="Who asked for what, the newest first")
async def requests(state: State, limit: Limit = 100, after: Cursor = "") -> Page[RequestShape]:
    """The access log: requests with a key of the community, or for its paths; written within seconds."""
    backend: Backend = state.backend
    read = partial(_inspection(state).requests, path=f"/v1/communities/{backend.community}/")
    return await page_of(after, limit, (NEWEST, ""), read, request_shape, lambda row: (row.at, row.id))


# --- quarantine ----------------------------------------------------------------------------------------


@get("/quarantine", may=OPERATOR, summary="Refused messages, the newest first")
async def quarantine(
    state: State,
    code: Annotated[
        str, QueryParameter(pattern=r"^[a-z-]{0,40}\Z", description="Of one code only, such as fork.")
    ] = "",
    limit: Limit = 100,
    after: Cursor = "",
) -> Page[Quarantined]:
    """What was refused, with what to do about it; `resolved_at` tells what waits no longer. A message that
    was refused for several reasons stands there for each."""
    return await page_of(
        after, limit, (NEWEST, b"", ""), partial(_quarantine(state).page, code=code), quarantined,
        lambda row: (row.last_at, row.digest, row.code),
    )  # fmt: skip


@get("/quarantine/{digest:str}", may=OPERATOR, summary="A refused message")
async def message(state: State, digest: Digest) -> MessageShape:
    """The message itself, as text, and all that it was refused for."""
    return await _message(state, bytes.fromhex(digest))


@post("/quarantine/{digest:str}/release", may=OPERATOR, summary="Send it again", status_code=202)
async def release(request: Req, state: State, digest: Digest) -> MessageShape:
    """Hand the kept message to the writer again, as if its device had sent it now: after what it lacked came,
    say. It is judged as any other, so no more can be recorded than the device may write; if it is refused
    again it waits again. 409 `not-waiting` where it waits no longer."""
    backend: Backend = state.backend
    name, by = bytes.fromhex(digest), _by(request)

    async def send(device: str, data: bytes) -> None:
        if not is_name(device):
            raise NoSender("no device can have the name that this came in under", where=device[:80])
        await backend.bus.publish_envelope(backend.community, device, data)

    if not await _quarantine(state).release(name, by, backend.clock.now(), send):
        raise await _not_waiting(state, name)
    return await _message(state, name)


@post("/quarantine/{digest:str}/reject", may=OPERATOR, summary="Let it go", status_code=200)
async def reject(request: Req, state: State, digest: Digest) -> MessageShape:
    """Nobody waits for the message any longer; it is kept with when and by whose key that was decided. If its
    device sends it again, it is judged again. 409 `not-waiting` where it waits no longer."""
    backend: Backend = state.backend
    name = bytes.fromhex(digest)
    if not await _quarantine(state).reject(name, _by(request), backend.clock.now()):
        raise await _not_waiting(state, name)
    return await _message(state, name)


def _by(request: Req) -> str:
    principal = cast(Principal, request.scope["user"])  # the guard let it through
    return principal.prefix


async def _message(state: State, digest: bytes) -> MessageShape:
    rows, text = await _quarantine(state).message(digest)
    if not rows:
        raise NotThere("there is no such message in quarantine", where=digest.hex())
    return message_shape(digest, rows, text)


async def _not_waiting(state: State, digest: bytes) -> NotWaiting:
    found = await _message(state, digest)
    return NotWaiting("this message waits no longer", where=digest.hex(), hint=found.refused[0].to_do)


router = Router(
    "/",
    route_handlers=[alarms, market, requests, quarantine, message, release, reject],
    tags=["Operators"],
)
