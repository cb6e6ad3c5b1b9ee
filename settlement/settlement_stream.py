"""The settlement's stream, to which runs and documents are appended by whoever's turn it is."""

from collections.abc import Awaitable, Callable, Sequence

from ledger.bus import Bus
from ledger.client import BookClient
from ledger.event import Event
from ledger.keys import SigningKey
from ledger.market_events import SETTLEMENT
from ledger.registry import SERVICE

Check = Callable[[], Awaitable[None]]


class SettlementStream:
    """Appends to the stream of one community, signed by the ledger's service; within a turn only
    (`SettlementStore.turn`)."""

    def __init__(self, bus: Bus, community: str, key: SigningKey) -> None:
        self._client = BookClient(bus, community, SERVICE, key, key.public)

    async def open(self) -> None:
        """Raises as `BookClient.open`."""
        await self._client.open()

    async def append(self, events: Sequence[Event], check: Check | None = None) -> None:
        """Go on from where the chain is now: somebody else may have had a turn since.

        `check` looks whether `events` still fit when that place is known: what comes to the stream after it
        makes a fork of them, and the book refuses them. Raises what `check` does and as `BookClient.append`.
        """
        await self._client.ask_heads()
        if check is not None:
            await check()
        await self._client.append(SETTLEMENT, events)
