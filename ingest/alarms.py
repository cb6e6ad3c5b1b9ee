"""Alarms: raised once when something goes wrong, and again only after it was right.

An alarm is an event on the gateway's own stream, so that it reaches the book by the same way as readings do.
Which alarms stand is remembered over a restart.
"""

from datetime import datetime

import msgspec
import structlog

from ingest.outbox import Outgoing
from ledger.canonical import encode
from ledger.event import new_salt
from ledger.events import AlarmRaised

log = structlog.get_logger(__name__)

CLOCK_DRIFT = "clock-drift"
FORK = "fork"
METER_OFFLINE = "meter-offline"
METER_ONLINE = "meter-online"
NOT_A_NUMBER = "not-a-number"
SERIAL_CHANGED = "serial-changed"

DETAIL_MAX = 200
"""Characters that an event's text may have."""

AlarmKey = tuple[str, str | None]
"""An alarm, and the meter that it is about."""

_decode = msgspec.json.Decoder(list[AlarmKey]).decode


class Alarms:
    """The alarms of one gateway. `state` is what `remembered` gave before a restart."""

    def __init__(self, device: str, state: bytes = b"[]") -> None:
        self._stream = f"device/{device}"
        self._standing: set[AlarmKey] = set(_decode(state))

    def remembered(self) -> bytes:
        """Which alarms stand."""
        return encode(sorted(self._standing, key=str))

    def raise_once(self, alarm: str, at: datetime, detail: str, meter: str | None = None) -> list[Outgoing]:
        """The event of an alarm that begins to stand; nothing when it stands already."""
        if (alarm, meter) in self._standing:
            return []
        self._standing.add((alarm, meter))
        return self.announce(alarm, at, detail, meter)

    def announce(self, alarm: str, at: datetime, detail: str, meter: str | None = None) -> list[Outgoing]:
        """The event of something that happens at an instant and does not stand."""
        log.warning("alarm", alarm=alarm, meter=meter, detail=detail)
        event = AlarmRaised(
            at=at.replace(microsecond=0),
            alarm=alarm,
            detail=detail[:DETAIL_MAX],
            salt=new_salt(),
            meter=meter,
        )
        return [Outgoing(self._stream, encode(event))]

    def settle(self, alarm: str, meter: str | None = None) -> bool:
        """The matter is right again; whether the alarm stood."""
        if (alarm, meter) not in self._standing:
            return False
        self._standing.remove((alarm, meter))
        log.info("alarm settled", alarm=alarm, meter=meter)
        return True
