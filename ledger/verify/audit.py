"""A community's book, read from its first line to its last.

The hot loop (`plain`) has looked at each line by itself. Here the lines are put together: a line that is in
order, and continues what came before it, costs a few comparisons; any other is looked at closely.
"""

from contextlib import closing

from ledger.book_file import (
    BlockLine,
    CheckpointLine,
    Header,
    KeyLine,
    Line,
    check_canonical,
    kind_of,
    parse_line,
)
from ledger.canonical import Malformed, NotCanonical
from ledger.entry import Head, stream_subject
from ledger.errors import BadInput
from ledger.tiles import HASH_BYTES
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.chunks import BookLines, Chunk, Chunks, FileCut, seen_by_workers, seen_here
from ledger.verify.closely import take_closely
from ledger.verify.plain import PlainEnvelope, PlainReader, PlainRun
from ledger.verify.report import (
    BLOCKS,
    CHAINS,
    FORM,
    LOG,
    PLAUSIBILITY,
    SIGNATURES,
    Findings,
    Place,
    Progress,
    counted,
)
from ledger.verify.state import State, words


class Audit:
    """One reading of one community's book."""

    not_applicable: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(
        self, book: BookLines, header: Header, check: CheckpointCheck, findings: Findings, workers: int
    ) -> None:
        self.state = State(header.community, findings)
        self._book = book
        self._header = header
        self._check = check
        self._findings = findings
        self._workers = workers
        self._number = 1  # of the newest line; the header is the first
        self._keys: dict[str, bytes] = {}

    @property
    def events(self) -> int:
        """How many events were read."""
        return self.state.tree.size

    @property
    def summaries(self) -> dict[int, str]:
        """What each step has checked."""
        state = self.state
        blocks = state.blocks
        sealed = f"{counted(blocks.good, 'block')}, the last over {blocks.good_size:,} entries"
        return {
            FORM: counted(self._number, "line"),
            SIGNATURES: f"{counted(state.envelopes, 'envelope')}, {counted(len(state.history.keys), 'key')}",
            CHAINS: f"{counted(self.events, 'event')} in {counted(len(state.heads), 'stream')}",
            LOG: self._check.summary,
            BLOCKS: sealed if blocks.good else "no block is sealed yet",
            PLAUSIBILITY: f"the readings of {counted(state.readings.meters, 'meter')}",
        }

    def run(self, progress: Progress) -> None:
        """Read all lines after the header. Findings may end it early by raising `Stopped`."""
        try:
            self._read_keys()
            with closing(self._chunks()) as chunks:
                for chunk in chunks:
                    self._take(chunk)
                    progress(self.events, self._header.size)
        except FileCut as error:
            self._findings.add(FORM, error.what, Place(self._number + 1))
        if not self._book.ends_with_newline:
            self._findings.add(FORM, "the file ends within a line", Place(self._number))
        self._end()

    def _read_keys(self) -> None:
        while kind_of(data := self._book.next_line()) == b"key":
            self._number += 1
            line = self._parsed(data.removesuffix(b"\n"))
            if isinstance(line, KeyLine):
                self.state.listed.append(line.key)
        self._book.hold(data)
        self._keys = {key.id: bytes.fromhex(key.public_key) for key in self.state.listed}

    def _chunks(self) -> Chunks:
        if self._workers > 1:
            return seen_by_workers(self._book, self._header.community, self._keys, self._workers)
        return seen_here(self._book, PlainReader(self._header.community, self._keys))

    def _take(self, chunk: Chunk) -> None:
        for index, seen in enumerate(chunk.seen):
            self._number += 1
            if seen is None or not self._take_plain(seen):
                self._take_other(chunk.lines[index])
                if self.state.look_back.is_full:
                    self.state.look_back.compare(self._book.path)

    # --- lines that are in order ---------------------------------------------------------------

    def _take_plain(self, seen: PlainEnvelope) -> bool:
        """Go on with a line that is sound in itself. False, and nothing changed, if it does not fit here."""
        state = self.state
        device = state.registry.devices.get(seen.device)
        if device is None or device.key is None or self._check.is_found or seen.position != state.position:
            return False
        # The signature was checked with the key that the file lists: it must be the one the events told of.
        if device.key.id != seen.key or device.key.bytes != self._keys[seen.key]:
            return False
        for run in seen.runs:
            head = state.head(run.stream)
            if head.sequence + 1 != run.first or head.hash != run.previous:
                return False
            if not self._may_write(seen.device, run) or not state.readings.can_take(run):
                return False
        for run in seen.runs:
            state.heads[run.stream] = Head(run.last, run.head)
            state.readings.take_run(run)
        state.tree.extend(seen.leaves)
        state.position += len(seen.leaves) // HASH_BYTES
        state.envelopes += 1
        return True

    def _may_write(self, device: str, run: PlainRun) -> bool:
        """Whether the device may write the run: its ends speak for all between if no reader changed there."""
        registry = self.state.registry
        meter = registry.meters.get(stream_subject(run.stream))
        if meter is None:
            return False
        begin, end = run.opening.measured_at, run.closing.measured_at
        if any(begin < since <= end for since, _ in meter.readers):
            return False
        try:
            registry.check_may_write(device, run.stream, (run.opening, run.closing))
        except BadInput:
            return False
        return True

    # --- all other lines -----------------------------------------------------------------------

    def _take_other(self, data: bytes) -> None:
        place = Place(self._number)
        if self._check.is_found:
            self._findings.add(FORM, "something follows the checkpoint", place)
            return
        kind = kind_of(data)
        if kind == b"envelope":
            take_closely(self.state, data, self._number)
            return
        if kind not in (b"block", b"checkpoint"):
            what = f"a line {kind.decode()!r} does not belong here" if kind else "this is no line of a book"
            self._findings.add(FORM, what, place)
            return
        line = self._parsed(data)
        if isinstance(line, BlockLine):
            self.state.blocks.stand(line, self._number, self.state.tree)
        elif isinstance(line, CheckpointLine):
            self._check.found(line.checkpoint, self._number)

    def _parsed(self, data: bytes) -> Line | None:
        try:
            line = parse_line(data)
            check_canonical(line, data)
        except Malformed as error:
            self._findings.add(FORM, words(error), Place(self._number))
            return None
        except NotCanonical as error:
            self._findings.add(FORM, words(error), Place(self._number))
        return line

    def _end(self) -> None:
        state = self.state
        state.look_back.compare(self._book.path)
        state.check_keys()
        state.blocks.end()
        if not self._check.is_found:
            self._findings.add(FORM, "the file ends without a checkpoint", Place(self._number))
        log_key = state.registry.opened.log_key if state.registry.opened else ""
        if self._check.open(log_key):
            self._check.compare(state.tree.size, state.tree.root(), state.blocks.agreement)
