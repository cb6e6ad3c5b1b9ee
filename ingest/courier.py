"""Between the sender and the rest: who sends, how patiently, over what, and who hears of trouble."""

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

import msgspec

from ledger.keys import PublicKey, SigningKey

_DOUBLINGS_MAX = 20


class Identity(NamedTuple):
    """Who sends, and whose signature counts."""

    community: str
    device: str
    key: SigningKey
    service: PublicKey


class SenderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How patient the sender is. Every wait doubles up to `wait_seconds_max`, less some jitter."""

    in_flight: int = 8
    receipt_seconds: float = 10.0  # until an envelope without a receipt is sent again
    retry_seconds: float = 1.0  # after the bus or the disk failed
    hold_seconds: float = 30.0  # after the gateway itself was refused
    wait_seconds_max: float = 300.0


class Courier(Protocol):
    """The way to the ledger; `ledger.bus.Bus` is one. Every method raises `Unavailable` when it fails."""

    async def on_receipts(
        self, community: str, device: str, handle: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Have `handle` called with every receipt for `device` from now on, also with forged ones."""

    async def ask_heads(self, community: str, device: str) -> bytes:
        """A receipt that tells the heads of all streams that `device` may write."""

    async def publish_envelope(self, community: str, device: str, data: bytes) -> None:
        """Hand an envelope over; it arrives once, often or, if this raises, perhaps."""


class AlarmBell(Protocol):
    """Where the sender says what a person should look at."""

    async def raise_once(self, alarm: str, detail: str) -> None:
        """Raise an alarm, unless it stands already."""

    async def announce(self, alarm: str, detail: str) -> None:
        """Tell of something that happened."""

    async def settle(self, alarm: str) -> None:
        """The matter is right again."""


def backoff(seconds: float, times: int, most: float) -> float:
    """How long to wait after `times` failures: doubling, with jitter, so that fleets do not come as one."""
    return min(most, seconds * 2.0 ** min(times, _DOUBLINGS_MAX)) * random.uniform(0.5, 1.0)
