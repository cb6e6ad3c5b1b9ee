"""From an HTTP request to the bus and back: hands an envelope on and waits for the ledger's signed receipt.

Nobody shows a key here, since the envelope is signed; so all that comes is bounded. An address is counted as
everywhere. A device is counted for each address that it is named from, and not by its name alone, or whoever
knows its name could silence it. What is signed by nobody known is refused at the door (`api.http.door`), and
as it takes time to look at, an address may send little of it.

One subscription hears the receipts of all devices. Only those that somebody waits for are verified.
"""

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from api.http.door import Door
from api.http.limits import Limits, network_of
from ledger.bus import Bus
from ledger.errors import BadInput, Unavailable
from ledger.receipt import HEADS, Answer, addressed, read_receipt
from ledger.strangers import STRANGE

RECEIPT_SECONDS = 10.0
WAITING_MAX = 10_000
DEVICE_ENVELOPES_A_MINUTE = 240
STRANGE_ENVELOPES_A_MINUTE = 120


class TooManyWait(Unavailable):
    """More envelopes wait for their receipts than this process remembers."""

    code = "too-many-wait"


class NotTheLedgers(Unavailable):
    """What came over the bus as the ledger's answer is not signed by it."""

    code = "not-the-ledgers"


class Received(NamedTuple):
    """A receipt as it came, and what it says."""

    answer: Answer
    receipt: bytes


@dataclass(slots=True)
class _Waiting:
    """An envelope that was handed on, and how many requests brought it."""

    future: asyncio.Future[Received] = field(default_factory=asyncio.Future)
    requests: int = 0


class Envelopes:
    """On their way to one community's ledger."""

    def __init__(
        self, bus: Bus, door: Door, limits: Limits | None = None, seconds: float = RECEIPT_SECONDS
    ) -> None:
        self._bus = bus
        self._door = door
        self._community = door.community
        self._service = door.service
        self._seconds = seconds
        limits = limits or Limits()
        self._devices = limits.limit("devices", DEVICE_ENVELOPES_A_MINUTE, "this device")
        self._strange = limits.limit("strange-envelopes", STRANGE_ENVELOPES_A_MINUTE, "this address")
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._listens = False
        self._lock = asyncio.Lock()

    async def take(self, address: str, device: str, data: bytes) -> Received | None:
        """Hand on an envelope that came from an address and names a device; its receipt as `send` gives it.

        Raises `TooMany`, `StoreUnavailable`, and as `send`.
        """
        network = network_of(address)
        self._devices.take(f"{device} at {network}")
        self._strange.take(network)
        received = None
        try:
            refused = await self._door.refused(device, data)
            received = Received(*refused) if refused else await self.send(device, data)
        finally:
            if received is not None and received.answer.code not in STRANGE:
                self._strange.give_back(network)
        return received

    async def send(self, device: str, data: bytes) -> Received | None:
        """Hand an envelope to JetStream and wait for its receipt; none where it did not come in time: then
        the envelope is kept and will be answered.

        Raises `BusUnavailable`, `TooManyWait`: then it may not be kept.
        """
        await self._listen()
        name = device, sha256(data).hexdigest()
        if name not in self._waiting and len(self._waiting) >= WAITING_MAX:
            raise TooManyWait("too many envelopes wait for their receipts", hint="try again in a moment")
        waiting = self._waiting.setdefault(name, _Waiting())
        waiting.requests += 1
        try:
            await self._bus.publish_envelope(self._community, device, data)
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(waiting.future)
        except TimeoutError:
            return None
        finally:
            waiting.requests -= 1
            if not waiting.requests:
                del self._waiting[name]

    async def heads(self, device: str) -> Received:
        """Where a device's chains go on, as the ledger tells it. Raises `BusUnavailable`, `NotTheLedgers`."""
        receipt = await self._bus.ask_heads(self._community, device)
        try:
            answer = read_receipt(receipt, self._community, self._service)
        except BadInput as error:
            raise NotTheLedgers("somebody else answers on the bus", where=device) from error
        if (answer.code, answer.device) != (HEADS, device):
            raise NotTheLedgers("the answer tells other heads", where=device)
        return Received(answer, receipt)

    async def _listen(self) -> None:
        async with self._lock:
            if not self._listens:
                await self._bus.on_receipts(self._community, "*", self._take)
                self._listens = True

    async def _take(self, data: bytes) -> None:
        named = addressed(data)
        waiting = self._waiting.get(named) if named else None
        if waiting is None or waiting.future.done():
            return
        try:
            answer = read_receipt(data, self._community, self._service)
        except BadInput:
            return  # a forged receipt answers nothing
        waiting.future.set_result(Received(answer, data))
