"""A client of the book: signs events as one device, sends them and waits for the signed receipt."""

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Self

from ledger.bus import Bus
from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.envelope import EVENTS_MAX, NewRun, seal_envelope
from ledger.errors import BadInput, Unavailable
from ledger.event import Event
from ledger.keys import PublicKey, SigningKey
from ledger.merkle import ProofError
from ledger.receipt import HEADS, Answer, addressed, read_receipt

ANSWER_SECONDS = 15.0
ATTEMPTS = 3
BODIES_BYTES_MAX = 512 * 1024
"""Of one envelope, which with all else stays below the megabyte that a bus takes at once."""


class NoReceipt(Unavailable):
    """No receipt came in time: the events are in the book or not, and sending again is safe."""

    code = "no-receipt"


class Refused(BadInput):
    """The ledger refused the events."""

    def __init__(self, answer: Answer) -> None:
        refusal = answer.refusal
        where = f"{refusal.stream} {refusal.sequence}" if refusal and refusal.stream else ""
        super().__init__(
            refusal.what if refusal else "refused", where=where, hint=refusal.hint if refusal else ""
        )
        self.code = answer.code


class BookClient:
    """Appends events to streams that one device continues: the operator's registry, mostly."""

    def __init__(self, bus: Bus, community: str, device: str, key: SigningKey, service: PublicKey) -> None:
        self._bus = bus
        self._community = community
        self._device = device
        self._key = key
        self._service = service
        self._heads: dict[str, Head] = {}
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._listens = False
        self._lock = asyncio.Lock()  # each envelope goes on from the head that the one before it made

    async def open(self) -> Self:
        """Listen for receipts and ask where the chains go on. Raises `BusUnavailable`, `BadInput`."""
        if not self._listens:
            await self._bus.on_receipts(self._community, self._device, self._take)
            self._listens = True
        await self.ask_heads()
        return self

    async def ask_heads(self) -> None:
        """Go on from where the book's chains are now. Raises as `open`."""
        data = await self._bus.ask_heads(self._community, self._device)
        answer = read_receipt(data, self._community, self._service)
        if (answer.code, answer.device) != (HEADS, self._device):
            raise ProofError("these are not this device's heads", where=self._device)
        self._heads = {head.stream: head.head() for head in answer.heads}

    async def _take(self, data: bytes) -> None:
        named = addressed(data)
        future = self._answers.get(named[1]) if named else None
        if future is None or future.done():
            return  # nobody waits for it
        try:
            answer = read_receipt(data, self._community, self._service)
        except BadInput:
            return  # a forged receipt answers nothing
        future.set_result(answer)

    async def append(self, stream: str, events: Sequence[Event]) -> None:
        """Append `events` to `stream`, in envelopes of `EVENTS_MAX` events or `BODIES_BYTES_MAX` at most.

        Raises `BusUnavailable`, `Refused` or `NoReceipt` at the first envelope that fails; the ones before it
        are in the book, and only what one envelope holds may be sent again without thought.
        """
        async with self._lock:
            for bodies in batches([encode(event) for event in events]):
                await self._append(stream, bodies)

    async def _append(self, stream: str, bodies: list[bytes]) -> None:
        run = NewRun(stream, self._heads.get(stream, EMPTY), bodies)
        data, heads = seal_envelope(self._community, self._device, self._key, [run])
        answer = await self._send(data)
        if not answer.is_safe:
            await self.ask_heads()
            raise Refused(answer)
        self._heads.update(heads)

    async def _send(self, data: bytes) -> Answer:
        digest = sha256(data).hexdigest()
        future = self._answers[digest] = asyncio.get_running_loop().create_future()
        try:
            for _ in range(ATTEMPTS):
                await self._bus.publish_envelope(self._community, self._device, data)
                try:
                    async with asyncio.timeout(ANSWER_SECONDS / ATTEMPTS):
                        return await asyncio.shield(future)
                except TimeoutError:
                    continue  # the receipt may be lost: the same envelope again is harmless
        finally:
            del self._answers[digest]
        raise NoReceipt("the ledger did not answer", where=self._community, hint="is the writer running?")


def batches(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The bodies in their order, as many together as an envelope takes; at least one."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and (len(batch) == EVENTS_MAX or size + len(body) > BODIES_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch
