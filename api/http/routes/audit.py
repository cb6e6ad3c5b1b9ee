"""What an auditor fetches besides the log: the whole book, streams with their entries, and signatures."""

from pathlib import Path
from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State
from litestar.params import PathParameter
from litestar.response import Stream

from api.http.audit_shapes import (
    EntryShape,
    EnvelopeShape,
    StreamShape,
    entry_shape,
    envelope_shape,
    stream_shape,
)
from api.http.backend import Backend
from api.http.caching import FOREVER, told
from api.http.extracts import JSONL, downloaded
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.problems import NotThere
from ledger.book_file import Wrote
from ledger.entry import is_stream
from ledger.export import Exported, export_community
from ledger.postgres.audit import AuditRow, AuditStore
from ledger.postgres.exporter import StoreSnapshot

READERS = frozenset({"auditor", "operator"})
KEPT = FOREVER.replace("public", "private")
POSITION_MAX = 2**53 - 1

Req = Request[Any, Any, State]


def _store(state: State) -> AuditStore:
    backend: Backend = state.backend
    return AuditStore(backend.pool, backend.community)


@get("/export", may=READERS, media_type=JSONL, summary="The whole book as a file that proves itself")
async def export(request: Req, state: State) -> Stream:
    """What `energy-ledger export` writes: every event with its signature, the keys, the blocks and the
    checkpoint that is published, with the witnesses' cosignatures under it. `energy-ledger verify` checks it
    offline, by `--witness` also who has cosigned it."""
    backend: Backend = state.backend

    async def write(snapshot: StoreSnapshot, path: Path, wrote: Wrote) -> Exported:
        return await export_community(
            snapshot, backend.community, path, log=backend.book.log, durable=False, wrote=wrote
        )

    return await downloaded(request, backend, backend.community, write, is_book=True)


@get("/streams", may=READERS, has_etag=True, summary="Streams with their heads, by name")
async def streams(
    request: Req, state: State, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[StreamShape]]:
    """Every stream of the book with its newest event: whoever keeps the heads can tell later whether the
    book still leads to them."""
    page = await page_of(after, limit, ("",), _store(state).streams, stream_shape, lambda row: (row.stream,))
    return told(request, page)


@get(
    "/streams/{name:str}/entries",
    may=READERS,
    has_etag=True,
    summary="The entries of the registry and its like",
)
async def entries(
    request: Req,
    state: State,
    name: Annotated[
        str,
        PathParameter(
            description="`registry`, `market`, `settlement` or `carbon`.",
            schema_extra={"examples": ["registry"]},
        ),
    ],
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[EntryShape]]:
    """The events of the stream from the first, with their bodies."""
    return await _entries(request, state, name, limit, after)


@get(
    "/streams/{kind:str}/{subject:str}/entries",
    may=READERS,
    has_etag=True,
    summary="The entries of somebody's stream",
)
async def entries_of(
    request: Req,
    state: State,
    kind: Annotated[
        str,
        PathParameter(
            description="`meter`, `device`, `building` or `crop`.", schema_extra={"examples": ["meter"]}
        ),
    ],
    subject: Annotated[str, PathParameter(description="Whose stream it is, such as m-school.")],
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[EntryShape]]:
    """The events of the stream from the first, with their bodies."""
    return await _entries(request, state, f"{kind}/{subject}", limit, after)


async def _entries(
    request: Req, state: State, stream: str, limit: int, after: str
) -> Response[Page[EntryShape]]:
    store = _store(state)
    if not is_stream(stream) or await store.head(stream) is None:
        raise NotThere("the book has no such stream", where=stream[:80])

    async def read(key: Any, most: int) -> list[AuditRow]:
        return await store.entries(stream, key[0], most)

    return told(request, await page_of(after, limit, (0,), read, entry_shape, lambda row: (row.sequence,)))


@get(
    "/envelopes/{position:int}", may=READERS, has_etag=True, summary="Who signed an event, and the signature"
)
async def envelope(
    request: Req,
    state: State,
    position: Annotated[
        int,
        PathParameter(
            ge=0, le=POSITION_MAX, description="`envelope` of an entry: where its envelope begins."
        ),
    ],
) -> Response[EnvelopeShape]:
    """The signed part of the envelope that brought an event: device, key, signature and runs. OpenSSL can
    check the signature over `signed_text`; each run's head is the entry hash of its last event."""
    found = await _store(state).envelope(position)
    if found is None:
        raise NotThere("no envelope begins there", where=str(position))
    backend: Backend = state.backend
    return told(request, envelope_shape(backend.community, found), KEPT)


router = Router("/", route_handlers=[export, streams, entries, entries_of, envelope], tags=["Audit"])
