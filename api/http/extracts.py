"""Parts of the book as files: written whole to a file without a name, then sent piece by piece."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from litestar.response import Stream

from api.http.backend import Backend
from api.http.caching import PRIVATE
from api.http.waiting import held
from ledger.export import Exported
from ledger.postgres.exporter import StoreSnapshot, snapshot_of

JSONL = "application/jsonl"
PIECE_BYTES = 256 * 1024

Export = Callable[[StoreSnapshot, Path], Awaitable[Exported]]


async def downloaded(backend: Backend, name: str, export: Export) -> Stream:
    """What `export` writes of one instant's book, as the file `<name>-<size>.jsonl`.

    It is written whole before the first byte is sent, so an answer that begins is one that proves itself.
    Only so many are written at once, as each holds a connection for long. Raises as `export` does.
    """
    with TemporaryDirectory() as folder:
        async with held(backend.extracts, "exporting"), snapshot_of(backend.pool) as snapshot:
            exported = await export(snapshot, Path(folder, "extract.jsonl"))
        file = exported.path.open("rb")  # without a name from now on, and gone when it is closed
    disposition = f'attachment; filename="{name}-{exported.size}.jsonl"'
    headers = {"Content-Disposition": disposition, "Cache-Control": PRIVATE}
    return Stream(_pieces(file), media_type=JSONL, headers=headers)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
