"""Parts of the book as files: written whole to a file without a name, then sent piece by piece.

The file is in the data folder, which is on a disk where the folder for temporary files may be in memory.
So few are written and held at once (`api.http.held_files`), and who reads one has `GRACE_SECONDS` and as long
as `BYTES_A_SECOND_MIN` takes; then it is broken off.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
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
from api.http.principal import Principal
from api.http.scopes import IS_HEAD
from api.http.waiting import held
from ledger.book_file import Wrote
from ledger.clock import SystemClock, monotonic_seconds
from ledger.export import Exported
from ledger.postgres.exporter import StoreSnapshot, snapshot_of

log = structlog.get_logger(__name__)

JSONL = "application/jsonl"
PIECE_BYTES = 256 * 1024
GRACE_SECONDS = 60.0
BYTES_A_SECOND_MIN = 64 * 1024

FOLDER = "extracts"
LEFT_SECONDS = 24 * 3600.0
"""Nothing is written for so long: what is older was left by a process that was killed."""

Export = Callable[[StoreSnapshot, Path, Wrote], Awaitable[Exported]]


async def downloaded(
    request: Request[Any, Any, Any], backend: Backend, name: str, export: Export, *, is_book: bool = False
) -> Stream:
    """What `export` writes of one instant's book, as the file `<name>-<size>.jsonl`.

    It is written whole before the first byte is sent, so an answer that begins is one that proves itself. Who
    asks for the head alone has none written. A proof leads through everybody's hashes, so all rows are seen.
    `is_book` tells that it is the whole book. Raises `Busy`, `TooManyAtOnce`, `ExtractTooLarge`, and as
    `export` does.
    """
    headers = {"Cache-Control": PRIVATE}
    if request.scope.get("state", {}).get(IS_HEAD):
        return Stream(iter(()), media_type=JSONL, headers=headers)
    extracts, principal = backend.extracts, cast(Principal, request.scope["user"])  # the guard let it through
    place = extracts.place(principal.prefix)
    try:
        with TemporaryDirectory(dir=await asyncio.to_thread(_folder, backend.book.data_folder)) as folder:
            writing = extracts.writing_book if is_book else extracts.writing_part
            async with held(writing, "exporting"), snapshot_of(backend.pool.whole) as snapshot:
                exported = await export(snapshot, Path(folder, "extract.jsonl"), place.wrote)
            place.take(exported.path.open("rb"))  # without a name from now on
    except BaseException:
        place.give_back()
        raise
    headers["Content-Disposition"] = f'attachment; filename="{name}-{exported.size}.jsonl"'
    return _Held(place, headers)


def _folder(data: Path) -> Path:
    """Where files are written, for nobody else to read; what was left there before is gone."""
    folder = data / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = SystemClock().now().timestamp()
    for left in folder.iterdir():
        with suppress(FileNotFoundError):
            if now - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    return folder


class _Held(Stream):
    """The answer that sends a file, and gives its place back however that ends."""

    def __init__(self, place: Place, headers: Mapping[str, str]) -> None:
        super().__init__(iter(()), media_type=JSONL, headers=headers)
        self._place = place
        self._size = place.size
        self._headers = {**headers, "Content-Type": JSONL, "Content-Length": str(place.size)}

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
