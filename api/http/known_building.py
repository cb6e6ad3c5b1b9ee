"""The building that a request is about, if the book has it."""

from typing import Annotated

from litestar.datastructures import State
from litestar.params import PathParameter

from api.http.backend import Backend
from api.http.problems import NotThere
from ledger.entry import is_name
from ledger.postgres.buildings import BuildingStore, MeterRow

BuildingPath = Annotated[str, PathParameter(description="The building's name in the book.")]
MeterPath = Annotated[str, PathParameter(description="The name of one of its meters.")]


async def known_building(state: State, building: str) -> BuildingStore:
    """Where to read what is known of it. Raises `NotThere`."""
    backend: Backend = state.backend
    store = BuildingStore(backend.pool, backend.community)
    if building not in backend.buildings:
        if not (is_name(building) and await store.knows(building)):
            raise NotThere("the book has no such building", where=building[:80])
        backend.buildings.add(building)
    return store


async def known_meter(store: BuildingStore, building: str, meter: str) -> MeterRow:
    """A meter of a building. Raises `NotThere`, also where it is another building's."""
    found = await store.meter(building, meter) if is_name(building) and is_name(meter) else None
    if found is None:
        raise NotThere("the building has no such meter", where=meter[:80])
    return found
