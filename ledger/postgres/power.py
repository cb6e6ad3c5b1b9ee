"""What is known of the power at a building's meters: their newest readings, and their newest intervals."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from ledger.events import MeterRead, read_recorded
from ledger.postgres.connection import statement
from ledger.postgres.pool import Pool

LOOKED_BACK = 100
"""So many readings of each meter: a day that comes late does not hide the newest."""


class PowerRow(NamedTuple):
    """A meter, its newest reading that tells a power, and the newest interval whose energy is known."""

    meter: str
    role: str
    reading: MeterRead | None
    start: datetime | None
    import_wh: int | None
    export_wh: int | None
    quality: str | None


async def power_rows(pool: Pool, community: str, building: str, now: datetime) -> list[PowerRow]:
    """Each of the building's meters that is not retired, by name. Raises `StoreUnavailable`."""
    async with pool.connection() as connection:
        rows = await connection.fetch(statement("power_intervals"), community, building, now)
        links = await connection.fetch(statement("power_readings"), community, building, LOOKED_BACK)
    newest: defaultdict[str, MeterRead | None] = defaultdict(lambda: None)
    for link, event in zip(links, read_recorded([link["body"] for link in links]), strict=True):
        if not isinstance(event, MeterRead) or event.power_w is None:
            continue
        before = newest[link["meter"]]
        if before is None or event.measured_at > before.measured_at:
            newest[link["meter"]] = event
    return [PowerRow(meter, role, newest[meter], *interval) for meter, role, *interval in rows]
