"""Finding a model in a SunSpec map: the marker, then the chain of models.

SunSpec Device Information Model Specification 1.0, 6: the map starts with `SunS` at 40000, 50000 or
0; behind it follow models, each with its id and the length of its body, and 0xFFFF ends the chain.
"""

from collections.abc import Awaitable, Callable, Collection

from msgspec import Struct

from ingest.modbus.errors import ModbusException, SunSpecMissing

STARTS = (40000, 50000, 0)
MARKER = (0x5375, 0x6E53)  # "SunS"
END_OF_MAP = 0xFFFF
COMMON_MODEL = 1
MODELS_MAX = 100  # a chain longer than this is not one
FUNCTION = 3

Read = Callable[[int, int, int], Awaitable[tuple[int, ...]]]


class SunSpecPlace(Struct, frozen=True):
    """Addresses of the ID registers of the wanted model and of the common model."""

    model: int
    common: int


async def locate(read: Read, wanted: Collection[int], where: str) -> SunSpecPlace:
    """Walk the meter's map; `read` takes function, address and count.

    Raises:
        SunSpecMissing: no marker, or none of the `wanted` models.
    """
    for start in STARTS:
        try:
            marker = await read(FUNCTION, start, len(MARKER))
        except ModbusException:
            continue  # this meter has no register there
        if marker == MARKER:
            return await _walk(read, start + len(MARKER), wanted, where)
    raise SunSpecMissing(
        "no SunSpec map at 40000, 50000 or 0", where=where, hint="is SunSpec enabled in the meter?"
    )


async def _walk(read: Read, address: int, wanted: Collection[int], where: str) -> SunSpecPlace:
    common = address
    seen = []
    for _ in range(MODELS_MAX):
        model, length = await read(FUNCTION, address, 2)
        if model in wanted:
            return SunSpecPlace(model=address, common=common)
        if model == END_OF_MAP or address + length > END_OF_MAP:
            break
        if model == COMMON_MODEL:
            common = address
        seen.append(model)
        address += 2 + length
    raise SunSpecMissing(
        f"the map holds models {seen}, none of {sorted(wanted)}",
        where=where,
        hint="the device is not a meter of this model; try the other SunSpec model",
    )
