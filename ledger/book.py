"""A community's book as the one who appends to it sees it: what it remembers, decides, writes and tells.

    examine (pure) -> plan (pure) -> one transaction -> answers, which `sign` makes receipts of

Whatever goes wrong at the store, the remembered state is thrown away and read again, and the same envelopes
are planned anew: what was committed after all then answers as a duplicate. What was judged by another state
than the one that it is planned against is judged again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog
from msgspec import structs

from ledger import admission, strangers
from ledger.admission import Examined, SequenceGap, Unverified
from ledger.block import NO_BLOCK, block_hash, unsealed_from
from ledger.canonical import encode
from ledger.clock import Clock
from ledger.entry import EMPTY, NO_HASH, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.errors import BadInput, Damaged, LedgerError, Unavailable
from ledger.event import Event
from ledger.events import BlockSealed, CommunityOpened, read_bodies
from ledger.keys import SigningKey
from ledger.log_edge import LogEdge, split_peaks
from ledger.merkle import EMPTY_ROOT, Frontier
from ledger.note import Verifier
from ledger.opened import check_opened
from ledger.planner import Item, Plan
from ledger.postgres.appender import Appender, Parked
from ledger.postgres.connection import PostgresSettings
from ledger.postgres.errors import Conflict
from ledger.receipt import HEADS, Answer, StreamHead, sign_receipts
from ledger.registry import SERVICE, NotPermitted, Registry
from ledger.strangers import Strangers

log = structlog.get_logger(__name__)

T = TypeVar("T")

VERIFIERS = os.cpu_count() or 1
"""Threads that verify signatures side by side: the library lets go of the interpreter while it computes."""
VERIFY_ASIDE_MIN = 8
"""Signatures a thread must have to be worth waking."""

RETRY_SECONDS = 0.5
HEADS_REMEMBERED_MAX = 200_000


class OtherKeys(BadInput):
    """The keys in hand are not those that the book was opened under."""

    code = "other-keys"


@dataclass(slots=True)
class State:
    """What the writer remembers of a community. True as long as the store's fence has not moved."""

    edge: LogEdge
    registry: Registry
    heads: dict[str, Head] = field(default_factory=dict)
    unsealed_since: datetime | None = None  # when the oldest event was recorded that no block seals
    parked: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)  # parked streams that have moved since


@dataclass(slots=True)
class Read:
    """One envelope on its way, before its signature has been verified."""

    device: str
    data: bytes
    outcome: Unverified | BadInput
    registry: Registry


@dataclass(slots=True)
class Judged(Item):
    """One envelope, what was said of it, and the registry that this was said by."""

    registry: Registry


def _are_genuine(envelopes: Sequence[Unverified]) -> list[bool]:
    return [envelope.is_genuine() for envelope in envelopes]


class Book:
    """One community's book, appended to by this process. `open` it first, `close` it in the end."""

    def __init__(
        self,
        community: str,
        postgres: PostgresSettings,
        service_key: SigningKey,
        log_key: SigningKey,
        clock: Clock,
    ) -> None:
        self.community = community
        self.checkpoint = ""
        self._postgres = postgres
        self._service_key = service_key
        self._log_key = log_key
        self._clock = clock
        self._appender: Appender | None = None
        self._state: State | None = None
        self._registry = Registry(community)
        self._size = 0
        self._unsealed_since: datetime | None = None
        self._strangers = Strangers()
        self._lock = asyncio.Lock()

    # --- state -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and read the state of the book. Raises `StoreUnavailable`, `Damaged`."""
        try:
            await self._loaded()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Leave the store."""
        self._state = None
        if self._appender is not None:
            await self._appender.close()
            self._appender = None

    async def _loaded(self) -> tuple[Appender, State]:
        """The connection and the state, made anew where they were lost."""
        if self._appender is None:
            self._appender = await Appender.open(self._postgres)
        if self._state is None:
            self._remember(await self._read_state(self._appender))
        assert self._state is not None  # noqa: S101 - just set
        return self._appender, self._state

    def _remember(self, state: State) -> None:
        self._state, self._registry, self._size = state, state.registry, state.edge.size
        self._unsealed_since = state.unsealed_since

    async def _read_state(self, store: Appender) -> State:
        community = self.community
        fence = await store.state(community, EMPTY_ROOT, self._now())
        partial = []
        for level, (begin, end) in enumerate(LogEdge.partial_ranges(fence.size)):
            read = store.leaves(community, begin, end) if level == 0 else None
            partial.append(await (read or store.tile_roots(community, level - 1, begin, end)))
        edge = LogEdge(Frontier(fence.size, split_peaks(fence.peaks)), partial)
        if edge.root() != fence.root:
            raise Damaged("the log's right edge does not lead to its root", where=community)
        registry = Registry(community)
        for event in read_bodies(await store.registry_bodies(community)):
            registry.apply(event)
        self.checkpoint = fence.checkpoint
        log.info("book read", community=community, size=fence.size, devices=len(registry.devices))
        parked = await store.parked_streams(community)
        since = await store.recorded_at(community, unsealed_from(registry.last_block))
        return State(edge, registry, unsealed_since=since, parked=parked, filled=set(parked))

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)

    @property
    def size(self) -> int:
        """How many events the book has, as far as this process knows."""
        return self._size

    @property
    def unsealed(self) -> int:
        """How many events no block seals yet, the event that sealed the last one not counted."""
        return self._size - unsealed_from(self._registry.last_block)

    @property
    def unsealed_since(self) -> datetime | None:
        """When the oldest of these was recorded."""
        return self._unsealed_since

    @property
    def registry(self) -> Registry:
        """The registry as this process knows it."""
        return self._registry

    # --- deciding --------------------------------------------------------------------------

    def examine(self, device: str, data: bytes) -> Judged:
        """What can be said of an envelope before its place in the book is looked at."""
        read = self.read(device, data)
        return self._judge(read, isinstance(read.outcome, Unverified) and read.outcome.is_genuine())

    def read(self, device: str, data: bytes) -> Read:
        """The first half of `examine`: all that comes before the signature."""
        registry = self._registry
        try:
            outcome: Unverified | BadInput = admission.read(data, registry, self._service_key.public)
            if isinstance(outcome, Unverified) and outcome.envelope.device != device:
                outcome = outcome.refused or NotPermitted(
                    "the envelope came in under another device's name", where=device
                )
        except BadInput as error:
            outcome = error
        return Read(device, data, outcome, registry)

    def _judge(self, read: Read, genuine: bool) -> Judged:
        if isinstance(read.outcome, BadInput):
            return Judged(read.device, read.data, read.outcome, read.registry)
        try:
            outcome: Examined | BadInput = admission.judge(
                read.outcome, genuine, read.registry, self._now(), self._service_key.public
            )
        except BadInput as error:
            outcome = error
        return Judged(read.device, read.data, outcome, read.registry)

    async def examine_all(self, reads: Sequence[Read]) -> list[Judged]:
        """The second half of `examine` for many: signatures are verified on as many cores as there are."""
        pending = [read.outcome for read in reads if isinstance(read.outcome, Unverified)]
        share = -(-len(pending) // VERIFIERS)
        if share < VERIFY_ASIDE_MIN:
            genuine = _are_genuine(pending)
        else:
            parts = [pending[begin : begin + share] for begin in range(0, len(pending), share)]
            done = await asyncio.gather(*(asyncio.to_thread(_are_genuine, part) for part in parts))
            genuine = [each for part in done for each in part]
        verdicts = iter(genuine)
        return [self._judge(read, isinstance(read.outcome, Unverified) and next(verdicts)) for read in reads]

    async def record(self, items: list[Judged]) -> list[Answer]:
        """Append what the items hold, in one transaction if it can be one; the answers in the same order.

        Waits for the store as long as it takes: an envelope is answered when its fate is certain.
        """
        async with self._lock:
            answers: list[Answer] = []
            while len(answers) < len(items):
                answers += await self._until_done(partial(self._record_some, items[len(answers) :]))
            return answers

    async def record_parked(self) -> list[Answer]:
        """Take up envelopes that waited for what has been recorded by now; answers for those that are in."""
        answers: list[Answer] = []
        while self._state is not None and self._state.filled:
            streams = sorted(self._state.filled)
            self._state.filled.clear()
            async with self._lock:
                parked = await self._until_done(partial(self._parked, streams))
            answered = await self.record([self.examine(one.device, one.message) for one in parked])
            said = {one.digest: answer for one, answer in zip(parked, answered, strict=True)}
            done = [digest for digest, answer in said.items() if answer.code != SequenceGap.code]
            recorded = [digest for digest, answer in said.items() if answer.is_safe]
            async with self._lock:
                await self._until_done(partial(self._resolve_parked, done, recorded))
            answers += [answer for answer in answered if answer.is_safe]
        return answers

    async def _parked(self, streams: Sequence[str], store: Appender, _: State) -> list[Parked]:
        return await store.parked(self.community, streams)

    async def _resolve_parked(
        self, done: Sequence[bytes], recorded: Sequence[bytes], store: Appender, state: State
    ) -> None:
        await store.resolve_parked(self.community, done, recorded, self._now())
        state.parked = await store.parked_streams(self.community)

    async def _until_done(self, use: Callable[[Appender, State], Awaitable[T]]) -> T:
        """What `use` gives. It is begun anew, on a state read anew, until the store lets it finish."""
        while True:
            try:
                return await use(*await self._loaded())
            except Conflict as error:
                log.warning("another writer was first, reading the state again", where=error.where)
                self._state = None
            except Unavailable as error:
                log.warning("store failed, reading the state again", code=error.code, detail=error.what)
                await self.close()
                await asyncio.sleep(RETRY_SECONDS)

    async def bound_quarantine(self) -> None:
        """Let go of what strangers have left in quarantine beyond its bounds, when it is time to look.

        Nobody waits for it: a little at a time, and where the store is away or refuses it is looked at later.
        """
        now = self._now()
        if not self._strangers.is_due(now):
            return
        async with self._lock:
            try:
                store, _ = await self._loaded()
                dropped = await store.bound_quarantine(self.community, now, strangers.BOUNDS)
            except LedgerError as error:
                log.warning("quarantine not bounded", code=error.code, detail=error.what)
                self._strangers.failed(now)
                await self.close()
                return
        if dropped < strangers.DROPPED_AT_ONCE:  # else there is more, which goes behind the next envelopes
            self._strangers.looked(now)
        if dropped:
            log.warning("what strangers left in quarantine was too much", dropped=dropped)

    async def _record_some(self, items: list[Judged], store: Appender, state: State) -> list[Answer]:
        """Plan and commit the first items, as many as fit one transaction; their answers."""
        items = [
            item if item.registry is state.registry else self.examine(item.device, item.data)
            for item in items
        ]
        await self._remember_heads(store, state, items)
        plan = Plan(self.community, self._now(), state.edge.size, state.registry)
        for item in items:
            recorded: dict[tuple[str, int], bytes] = {}
            if places := plan.overlapping(item, state.heads):
                if plan.touches(places):
                    break  # what it must be compared with is not in the store yet
                recorded = await store.recorded(self.community, places)
            plan.take(item, state.heads, recorded)
            if plan.registry is not state.registry:
                break  # what follows must be judged by the new registry
        await self._commit(store, state, plan)
        return plan.answers

    async def _remember_heads(self, store: Appender, state: State, items: Sequence[Item]) -> None:
        wanted = {
            run.stream for item in items if isinstance(item.outcome, Examined) for run in item.outcome.runs
        }
        if len(state.heads) > HEADS_REMEMBERED_MAX:
            state.heads.clear()
        missing = [stream for stream in wanted if stream not in state.heads]
        if missing:
            state.heads.update(await store.heads(self.community, missing))

    async def _commit(self, store: Appender, state: State, plan: Plan) -> None:
        batch = plan.batch(state.edge, self._origin(plan.registry), self._log_key)
        # From here to the commit the edge has grown already: any failure throws the state away.
        self._state = None
        await store.append(batch)
        state.registry = plan.registry
        state.heads.update(plan.heads)
        state.parked |= plan.parked
        if batch.events:
            self.checkpoint = batch.after.checkpoint
        if unsealed_from(state.registry.last_block) >= state.edge.size:
            state.unsealed_since = None
        elif state.unsealed_since is None:
            state.unsealed_since = batch.now
        state.filled |= state.parked & plan.heads.keys()
        self._remember(state)
        self._strangers.note(plan.quarantine)
        for row in plan.quarantine:
            log.warning("refused", code=row[2], device=row[3], stream=row[4], sequence=row[5], what=row[6])

    def _origin(self, registry: Registry) -> str:
        """The log's name; a book that is not open yet has no events to sign for."""
        return Verifier.parse(registry.opened.log_key).name if registry.opened else ""

    # --- what the service itself has to say --------------------------------------------------

    async def open_community(self, event: CommunityOpened) -> None:
        """Write the first event of the book, unless it has one.

        Raises `OtherKeys` or `OtherOpening` when the book was opened under other keys or rules than these.
        """
        async with self._lock:
            await self._until_done(partial(self._open_once, event))

    async def _open_once(self, event: CommunityOpened, store: Appender, state: State) -> None:
        opened = state.registry.opened
        if opened is None:
            await self._append_own("registry", event, store, state)
            return
        service, log_key = state.registry.devices[SERVICE].key, Verifier.parse(opened.log_key).key
        if (service and service.id, log_key.id) != (self._service_key.public.id, self._log_key.public.id):
            raise OtherKeys(
                "the book was opened under other keys than these",
                where=self.community,
                hint="restore the folder of keys: receipts and checkpoints must go on under the same ones",
            )
        check_opened(opened, structs.asdict(event))

    async def seal(self) -> BlockSealed | None:
        """Seal all events so far into the next block; None when nothing but blocks came since the last."""
        async with self._lock:
            return await self._until_done(self._seal_once)

    async def _seal_once(self, store: Appender, state: State) -> BlockSealed | None:
        last, size, root = state.registry.last_block, state.edge.size, state.edge.root()
        if size <= unsealed_from(last):
            return None
        sealed = BlockSealed(
            number=last.number + 1 if last else 1,
            previous=block_hash(self.community, last) if last else NO_BLOCK,
            root=root.hex(),
            sealed_at=self._now(),
            size=size,
        )
        await self._append_own(f"device/{SERVICE}", sealed, store, state)
        log.info("block sealed", community=self.community, number=sealed.number, size=size)
        return sealed

    async def _append_own(self, stream: str, event: Event, store: Appender, state: State) -> None:
        head = (await store.heads(self.community, [stream])).get(stream, EMPTY)
        run = NewRun(stream, head, [encode(event)])
        data, _ = seal_envelope(self.community, SERVICE, self._service_key, [run])
        (answer,) = await self._record_some([self.examine(SERVICE, data)], store, state)
        if not answer.is_safe:
            what = answer.refusal.what if answer.refusal else ""
            raise Damaged(f"the ledger refused its own event: {answer.code}, {what}", where=stream)

    # --- what it tells -----------------------------------------------------------------------

    def sign(self, answers: list[Answer]) -> list[bytes]:
        """The receipts for `answers`, in their order."""
        return sign_receipts(self.community, answers, self._service_key)

    async def tell_heads(self, device: str) -> bytes:
        """The signed heads of all streams that `device` may write to."""
        async with self._lock:
            heads = await self._until_done(partial(self._heads_of, device))
        answer = Answer(
            code=HEADS,
            community=self.community,
            device=device,
            envelope=NO_HASH.hex(),
            heads=heads,
            recorded_at=self._now(),
        )
        return self.sign([answer])[0]

    async def _heads_of(self, device: str, store: Appender, state: State) -> list[StreamHead]:
        streams = state.registry.streams_of(device)
        heads = await store.heads(self.community, streams)
        return [StreamHead.of(stream, heads.get(stream, EMPTY)) for stream in streams]
