"""What the poller saw of a meter: a reading, or why there is none."""

from datetime import datetime

from msgspec import Struct

from ingest.meter_reading import Reading
from ledger.errors import LedgerError


class Observation(Struct, frozen=True):
    """One meter at one instant (UTC, whole seconds); `serial` is there when it was asked for and told."""

    meter: str
    at: datetime
    reading: Reading | None = None
    serial: str | None = None
    error: LedgerError | None = None
