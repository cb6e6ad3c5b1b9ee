"""For auditors: the log as C2SP tlog-tiles serves it, proofs, and blocks.

Tiles and entry bundles never change, so they may be kept for ever; the checkpoint for a few seconds. Entries
hold hashes and names of streams, no reading. But they can be counted: how often somebody's meter was read,
how many orders a building has placed. A log that is public tells that to everybody, as it is complete by
design. One that is not tells it to auditors and operators; others have checkpoint, tiles and consistency,
which show that nothing was changed, and a building has proofs for what is its own.
"""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter

from api.http.backend import Backend
from api.http.caching import FOREVER, SECONDS, answered
from api.http.guard import LOG
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.principal import Principal
from api.http.problems import NotAllowed, NotThere
from api.http.shapes import BlockShape, block_shape
from ledger.entry import is_stream, stream_kind, stream_subject
from ledger.errors import BadInput
from ledger.keys import b64
from ledger.merkle import ProofError
from ledger.postgres.buildings import BuildingStore
from ledger.postgres.log import LogStore
from ledger.tiles import TileMissing, parse_tile_path

TEXT = "text/plain"
BYTES = "application/octet-stream"
MOST = 2**53 - 1
SEES_ALL = frozenset({"auditor", "operator"})
OF_BUILDINGS = frozenset({"building", "meter"})
"""Kinds of streams whose length is its building's own affair."""

Req = Request[Any, Any, State]


def _log(state: State) -> LogStore:
    backend: Backend = state.backend
    return LogStore(backend.pool, backend.community, backend.book.log)


def _nothing_published(state: State) -> NotThere:
    backend: Backend = state.backend
    if quorum := backend.book.log.quorum:
        return NotThere("no checkpoint has its cosignatures yet", where=f"quorum {quorum}")
    return NotThere("the log is empty: the book was not opened yet")


def _check_sees(request: Req, state: State, what: str) -> None:
    """Whether who asks may know how many events others have. Raises `NotAllowed`."""
    backend: Backend = state.backend
    principal: Principal | None = request.scope.get("user")
    if not backend.settings.public_log and (principal is None or principal.role not in SEES_ALL):
        raise NotAllowed("this is for auditors and operators, as the log is not public", where=what)


async def _is_own(request: Req, state: State, stream: str) -> bool:
    """Whether a stream is of the building that asks, or of a meter of it."""
    backend: Backend = state.backend
    principal: Principal | None = request.scope.get("user")
    if principal is None or principal.building is None:
        return False
    subject = stream_subject(stream)
    if stream_kind(stream) == "building":
        return subject == principal.building
    return await BuildingStore(backend.pool, backend.community).meter(principal.building, subject) is not None


def _kept(state: State, cache: str) -> str:
    """For how long an answer may be kept: where the log is not public, by who asked only."""
    backend: Backend = state.backend
    return cache if backend.settings.public_log else cache.replace("public", "private")


@get("/checkpoint", may=LOG, has_etag=True, media_type=TEXT, summary="The newest checkpoint")
async def checkpoint(request: Req, state: State) -> Response[bytes]:
    """The newest checkpoint: a signed note of C2SP tlog-checkpoint, with the cosignatures of witnesses under
    it (C2SP tlog-cosignature). Where the ledger publishes nothing before a quorum of witnesses has cosigned
    it, that is the newest that a quorum has, and proofs lead to it as well."""
    note = await _log(state).checkpoint()
    if note is None:
        raise _nothing_published(state)
    return answered(request, note.encode(), TEXT, _kept(state, SECONDS))


@get("/tile/{path:path}", may=LOG, has_etag=True, media_type=BYTES, summary="A tile or an entry bundle")
async def tile(request: Req, state: State, path: FromPath[str]) -> Response[bytes]:
    """A tile of C2SP tlog-tiles, `tile/LEVEL/INDEX[.p/WIDTH]`, or an entry bundle behind one of level 0,
    `tile/entries/INDEX[.p/WIDTH]`. What the tree does not have yet is not found. Where the log is not public,
    entry bundles are for auditors and operators: they tell how many events each stream has."""
    try:
        place, is_bundle = parse_tile_path(f"tile/{path.lstrip('/')}")
    except TileMissing as error:
        raise NotThere("this is not the path of a tile", where=path[:80]) from error
    if is_bundle:
        _check_sees(request, state, "entries")
    log = _log(state)
    data = await (log.bundle(place) if is_bundle else log.tile(place))
    if not data:
        raise NotThere("the log has no such tile yet", where=path[:80])
    return answered(request, data, BYTES, _kept(state, FOREVER))


@get(
    "/proofs/inclusion",
    may=LOG,
    has_etag=True,
    media_type=TEXT,
    summary="A proof that an event is in the log",
)
async def inclusion(
    request: Req,
    state: State,
    stream: Annotated[str, QueryParameter(description="The event's stream, such as meter/m-school.")],
    sequence: Annotated[int, QueryParameter(ge=1, le=MOST, description="Its sequence in that stream.")],
) -> Response[bytes]:
    """The event's place and audit path up to the newest checkpoint, as a C2SP tlog-proof. Where the log is
    not public, proofs for a building's stream and its meters' are for itself, auditors and operators."""
    if not is_stream(stream):
        raise BadInput("this is not the name of a stream", where=stream[:80])
    if stream_kind(stream) in OF_BUILDINGS and not await _is_own(request, state, stream):
        _check_sees(request, state, stream)
    proof = await _log(state).inclusion(stream, sequence)
    if proof is None:
        raise NotThere("the log has no such event", where=f"{stream} {sequence}")
    return answered(request, str(proof).encode(), TEXT, _kept(state, SECONDS))


@get("/proofs/consistency", may=LOG, has_etag=True, media_type=TEXT, summary="A proof that the log only grew")
async def consistency(
    request: Req,
    state: State,
    first: Annotated[
        int, QueryParameter(ge=1, le=MOST, description="The size that somebody has seen before.")
    ],
) -> Response[bytes]:
    """The consistency proof (RFC 9162, section 2.1.4) from `first` to the newest checkpoint: a line with both
    sizes, the hashes in base64, an empty line, the checkpoint."""
    try:
        found = await _log(state).consistency(first)
    except ProofError as error:
        raise BadInput(f"the log is not as long as {first}", where="first") from error
    if found is None:
        raise _nothing_published(state)
    size, path, note = found
    text = f"consistency {first} {size}\n{''.join(f'{b64(node)}{chr(10)}' for node in path)}\n{note}"
    return answered(request, text.encode(), TEXT, _kept(state, SECONDS))


@get("/blocks", may=LOG, summary="Sealed blocks, the first one first")
async def blocks(state: State, limit: Limit = 100, after: Cursor = "") -> Page[BlockShape]:
    """Sealed blocks: size and root of the log when each was sealed, and its hash, which can be anchored."""
    return await page_of(after, limit, (0,), _log(state).blocks, block_shape, lambda row: (row.number,))


router = Router("/log", route_handlers=[checkpoint, tile, inclusion, consistency, blocks], tags=["Log"])
