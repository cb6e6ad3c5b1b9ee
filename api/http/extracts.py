"""Parts of the book as files: written whole to a file without a name, then sent piece by piece.

So few are written and held at once (`api.http.held_files`), and who reads one has `GRACE_SECONDS` and as long
as `BYTES_A_SECOND_MIN` takes; then it is broken off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import structlog
from litestar import Request
from litestar.response import Stream
from litestar.types import Receive, Scope, Send

from api.http.backend import Backend
from api.http.caching import PRIVATE
from api.http.held_files import Place
from api.http.middleware import IS_HEAD
from api.http.principal import Principal
from api.http.waiting import held
from ledger.clock import monotonic_seconds
from ledger.export import Exported
from ledger.postgres.exporter import StoreSnapshot, snapshot_of

log = structlog.get_logger(__name__)

JSONL = "application/jsonl"
PIECE_BYTES = 256 * 1024
GRACE_SECONDS = 60.0
BYTES_A_SECOND_MIN = 64 * 1024

Export = Callable[[StoreSnapshot, Path], Awaitable[Exported]]


async def downloaded(request: Request[Any, Any, Any], backend: Backend, name: str, export: Export) -> Stream:
    """What `export` writes of one instant's book, as the file `<name>-<size>.jsonl`.

    It is written whole before the first byte is sent, so an answer that begins is one that proves itself. Who
    asks for the head alone has none written. A proof leads through everybody's hashes, so all rows are seen.
    Raises `Busy`, `TooManyAtOnce`, and as `export` does.
    """
    headers = {"Cache-Control": PRIVATE}
    if request.scope.get("state", {}).get(IS_HEAD):
        return Stream(iter(()), media_type=JSONL, headers=headers)
    extracts, principal = backend.extracts, cast(Principal, request.scope["user"])  # the guard let it through
    place = extracts.place(principal.prefix)
    try:
        with TemporaryDirectory() as folder:
            async with held(extracts.writing, "exporting"), snapshot_of(backend.pool.whole) as snapshot:
                exported = await export(snapshot, Path(folder, "extract.jsonl"))
            size = exported.path.stat().st_size
            place.take(exported.path.open("rb"), size)  # without a name from now on
    except BaseException:
        place.give_back()
        raise
    headers["Content-Disposition"] = f'attachment; filename="{name}-{exported.size}.jsonl"'
    return _Held(place, size, headers)


class _Held(Stream):
    """The answer that sends a file, and gives its place back however that ends."""

    def __init__(self, place: Place, size: int, headers: Mapping[str, str]) -> None:
        super().__init__(iter(()), media_type=JSONL, headers=headers)
        self._place = place
        self._size = size
        self._headers = {**headers, "Content-Type": JSONL, "Content-Length": str(size)}

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """What the library calls to have it sent."""
        return self._send

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = monotonic_seconds() + GRACE_SECONDS + self._size / BYTES_A_SECOND_MIN
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left = self._size
            while left:
                piece = await asyncio.to_thread(self._place.file.read, PIECE_BYTES)
                if monotonic_seconds() > until:
                    log.info("a file is read too slowly", bytes=self._size, left=left)
                    return  # half an answer is none: the server closes the connection
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        finally:
            self._place.give_back()
