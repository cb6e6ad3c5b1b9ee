"""A building's power, and its live stream: by Server-Sent Events and, at the same path, by WebSocket.

    GET  ../live                 text/event-stream; a client that was cut off comes back with Last-Event-ID
    GET  ../live  with Upgrade   the same messages as text frames of JSON, resumed by `?after=`

A key is shown in the Authorization header, as everywhere, or a session's cookie; never in the address.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from random import randint
from typing import Annotated, Any, cast

from litestar import Request, Response, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from api.http.backend import Backend
from api.http.caching import told
from api.http.cookies import session_token
from api.http.guard import OWN
from api.http.known_building import BuildingPath, known_building
from api.http.live.hub import Hub, Stopping
from api.http.live.listener import Shown, TooSlow
from api.http.live.message import Message
from api.http.live.pages import View
from api.http.live.place import Place
from api.http.live.shapes import LiveMessage
from api.http.openapi import EVENT_STREAM
from api.http.power_shapes import BuildingPowerShape, building_power
from api.http.principal import Principal
from api.http.problems import NotKnown
from api.http.scopes import IS_HEAD, OPEN_ENDED
from ledger.people import session_digest
from ledger.postgres.power import power_rows

MAY = OWN | {"operator"}
UNCOMPRESSED = "uncompressed"
"""Says at a handler that its answer must not be kept back, not even to make it smaller."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would else keep back what has come
}
RETRY_MS = (1_000, 5_000)
"""After so long a client comes back, each after another time, or all would come at once."""
CLOSE_CODES = {Stopping.code: 1012, TooSlow.code: 1013, NotKnown.code: 1008}
CLOSE_OTHERWISE = 1011
TALKS = 1003

Req = Request[Any, Any, State]
After = Annotated[
    str,
    QueryParameter(
        max_length=40,
        description="The id of the newest message that was taken: all behind it is told. By default what"
        " comes from now on.",
    ),
]


@get("/{building:str}/power", may=MAY, has_etag=True, summary="A building's newest power")
async def power(request: Req, state: State, building: BuildingPath) -> Response[BuildingPowerShape]:
    """The newest power that the book knows of each of its meters, and of the building: as the meter told it
    with its newest reading or, where it tells none, the average of the newest interval, and which of both."""
    backend: Backend = state.backend
    await known_building(state, building)
    now = backend.clock.now()
    rows = await power_rows(backend.pool, backend.community, building, now)
    step = timedelta(minutes=backend.book.community.interval_minutes)
    return told(request, building_power(building, rows, step, now))


@get(
    "/{building:str}/live",
    may=MAY,
    media_type=EVENT_STREAM,
    summary="A building's readings, trades and prices as they come",
    responses={
        200: ResponseSpec(
            LiveMessage,
            generate_examples=False,
            media_type=EVENT_STREAM,
            description="Events without end. `id` is what to come back with, `event` the kind of message, and"
            " `data` on one line the JSON that is described here.",
        )
    },
    uncompressed=True,
)
async def live(
    request: Req,
    state: State,
    building: BuildingPath,
    after: After = "",
    last_event_id: Annotated[
        str,
        HeaderParameter(
            name="Last-Event-ID",
            max_length=40,
            description="What a browser shows when it comes back; it counts before `after`.",
        ),
    ] = "",
) -> Stream:
    """Server-Sent Events: `opened` first, then `reading` for each reading of the building's meters, and
    `settled` and `price` for each interval that is settled, also when it is settled anew. `ending` tells why
    it ends: the server stops, the key counts no longer, or the listener is too slow.

    An id is a place in the book. Who comes back with the newest one, to whichever process and whenever, is
    told all that came since, once. A WebSocket at the same path tells the same objects, each with its `id` in
    it, and is resumed by `after`."""
    scope_state: dict[str, Any] = request.scope["state"]
    scope_state[OPEN_ENDED] = True
    if scope_state[IS_HEAD]:
        await known_building(state, building)
        return Stream(_nothing(), headers=HEADERS, media_type=EVENT_STREAM)
    messages = await _messages(request, state, building, last_event_id or after)
    first = await anext(messages)  # what is refused is refused before the answer begins
    return Stream(_events(first, messages), headers=HEADERS, media_type=EVENT_STREAM)


@websocket("/{building:str}/live", may=MAY)
async def live_socket(
    socket: WebSocket[Any, Any, State], state: State, building: BuildingPath, after: After = ""
) -> None:
    """The same by WebSocket. It only tells: who says something is hung up on."""
    messages = await _messages(socket, state, building, after)
    async with aclosing(messages):
        first = await anext(messages)
        await socket.accept()
        with suppress(OSError):  # the client is gone
            await _tell(socket, first, messages)


async def _messages(
    connection: ASGIConnection[Any, Any, Any, State], state: State, building: str, after: str
) -> AsyncGenerator[Sequence[Message], None]:
    """What is to be told to who asks. Raises `NotThere`, `BadPlace`."""
    hub: Hub = state.live
    principal = cast(Principal, connection.scope["user"])  # the guard let it through
    place = Place.told(after) if after else None
    await known_building(state, building)
    view = View(building, with_partner=principal.building == building)
    token = session_token(connection.scope) if principal.person is not None else None
    shown = Shown(principal.prefix, session_digest(token) if token is not None else None)
    return hub.messages(view, shown, place)


async def _nothing() -> AsyncIterator[bytes]:
    """No event."""
    for nothing in tuple[bytes, ...]():
        yield nothing


async def _events(
    first: Sequence[Message], messages: AsyncGenerator[Sequence[Message], None]
) -> AsyncIterator[bytes]:
    """As Server-Sent Events; those that came together go out in one piece."""
    async with aclosing(messages):
        yield f"retry: {randint(*RETRY_MS)}\n\n".encode() + _joined(first)
        async for each in messages:
            yield _joined(each)


def _joined(messages: Sequence[Message]) -> bytes:
    return messages[0].event if len(messages) == 1 else b"".join(message.event for message in messages)


async def _tell(
    socket: WebSocket[Any, Any, State],
    first: Sequence[Message],
    messages: AsyncGenerator[Sequence[Message], None],
) -> None:
    """Tell everything until either side ends it."""
    telling = asyncio.ensure_future(_told(socket, first, messages))
    hearing = asyncio.ensure_future(_heard(socket))
    try:
        done, _ = await asyncio.wait((telling, hearing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, hearing):
            task.cancel()
        await asyncio.gather(telling, hearing, return_exceptions=True)
    for task in done:
        if (code := task.result()) is not None:
            await socket.close(code)
            return


async def _told(
    socket: WebSocket[Any, Any, State],
    first: Sequence[Message],
    messages: AsyncGenerator[Sequence[Message], None],
) -> int:
    """Send all messages; the code to close with after the last one."""
    for message in first:
        await socket.send_text(message.text)
    code = CLOSE_OTHERWISE
    async for each in messages:
        for message in each:
            await socket.send_text(message.text)
            code = CLOSE_CODES.get(message.ending, CLOSE_OTHERWISE)
    return code


async def _heard(socket: WebSocket[Any, Any, State]) -> int | None:
    """Wait until the client goes, or says something; the code to close with then."""
    message = await socket.receive()
    return None if message["type"] == "websocket.disconnect" else TALKS


HANDLERS = (power, live, live_socket)
