"""A building's meters: their chains link by link, and as a file that proves itself."""

from functools import partial
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.response import Stream

from api.http.backend import Backend
from api.http.building_shapes import (
    ChainShape,
    MeterShape,
    head_shape,
    link_shape,
    meter_shape,
)
from api.http.caching import told
from api.http.extracts import JSONL, downloaded
from api.http.guard import OWN
from api.http.known_building import BuildingPath, MeterPath, known_building, known_meter
from api.http.pages import Cursor, Limit, Page, page_of
from ledger.book_file import Wrote
from ledger.export import Exported
from ledger.extract import export_meter
from ledger.postgres.buildings import LinkRow
from ledger.postgres.exporter import StoreSnapshot

READERS = OWN | {"operator"}

Req = Request[Any, Any, State]


@get("/{building:str}/meters", may=READERS, has_etag=True, summary="A building's meters, by name")
async def meters(
    request: Req, state: State, building: BuildingPath, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[MeterShape]]:
    """Its meters, each with the head of its chain: whoever keeps one can tell later whether the book still
    leads to it."""
    store = await known_building(state, building)
    page = await page_of(
        after, limit, ("",), partial(store.meters, building), meter_shape, lambda row: (row.meter,)
    )
    return told(request, page)


@get(
    "/{building:str}/meters/{meter:str}/chain",
    may=READERS,
    has_etag=True,
    summary="The chain of a meter's readings",
)
async def chain(
    request: Req,
    state: State,
    building: BuildingPath,
    meter: MeterPath,
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[ChainShape]:
    """Every event of the meter's stream with its body and hashes, from the first: enough to compute the chain
    again up to its head, with nothing but SHA-256."""
    store = await known_building(state, building)
    row = await known_meter(store, building, meter)
    last = row.sequence or 0

    async def read(key: Any, most: int) -> list[LinkRow]:
        return await store.chain(meter, key[0], last, most)

    page = await page_of(after, limit, (0,), read, link_shape, lambda link: (link.sequence,))
    return told(request, ChainShape(f"meter/{meter}", head_shape(row), page.items, page.next))


@get(
    "/{building:str}/meters/{meter:str}/extract",
    may=READERS,
    media_type=JSONL,
    summary="A meter's part of the book as a file that proves itself",
)
async def extract(request: Req, state: State, building: BuildingPath, meter: MeterPath) -> Stream:
    """What `energy-ledger export --meter` writes: the meter's events with signatures, keys, inclusion proofs
    and the checkpoint, nobody else's readings. `energy-ledger verify` checks it offline."""
    backend: Backend = state.backend
    store = await known_building(state, building)
    await known_meter(store, building, meter)

    async def write(snapshot: StoreSnapshot, path: Path, wrote: Wrote) -> Exported:
        return await export_meter(
            snapshot, backend.community, meter, path, log=backend.book.log, durable=False, wrote=wrote
        )

    return await downloaded(request, backend, f"{backend.community}-{meter}", write)


HANDLERS = (meters, chain, extract)
