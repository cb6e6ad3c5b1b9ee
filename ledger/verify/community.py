"""A community's book, read from its first line to its last.

The hot loop (`plain`) has looked at each line by itself. Here the lines are put together: a line that is in
order, and continues what came before it, costs a few comparisons; any other is looked at closely.
"""

from contextlib import closing

from ledger.book_file import BlockLine, Header, Line, kind_of
from ledger.entry import Head, stream_subject
from ledger.errors import BadInput
from ledger.tiles import HASH_BYTES
from ledger.verify.audit import Audit
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.chunks import Chunk, Chunks, seen_by_workers, seen_here
from ledger.verify.closely import take_closely
from ledger.verify.lines import BookLines
from ledger.verify.plain import PlainEnvelope, PlainReader, PlainRun
from ledger.verify.report import BLOCKS, Findings, Progress, counted


class CommunityAudit(Audit):
    """One reading of one community's book."""

    def __init__(
        self, book: BookLines, header: Header, check: CheckpointCheck, findings: Findings, workers: int
    ) -> None:
        super().__init__(book, header, check, findings)
        self._workers = workers

    @property
    def events(self) -> int:
        return self.state.tree.size

    @property
    def summaries(self) -> dict[int, str]:
        blocks = self.state.blocks
        sealed = f"{counted(blocks.good, 'block')}, the last over {blocks.good_size:,} entries"
        return super().summaries | {BLOCKS: sealed if blocks.good else "no block is sealed yet"}

    def _read_log(self, progress: Progress) -> None:
        with closing(self._chunks()) as chunks:
            for chunk in chunks:
                self._take_chunk(chunk)
                progress(self.events, self._header.size)

    def _chunks(self) -> Chunks:
        if self._workers > 1:
            return seen_by_workers(self._book, self._header.community, self._keys, self._workers)
        return seen_here(self._book, PlainReader(self._header.community, self._keys))

    def _take_chunk(self, chunk: Chunk) -> None:
        for index, seen in enumerate(chunk.seen):
            self._number += 1
            if seen is None or not self._take_plain(seen):
                self._take_other(chunk.lines[index])

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
        if kind_of(data) != b"envelope" or self._check.is_found:
            self._take(data)
            return
        take_closely(self.state, data, self._number)
        if self.state.look_back.is_full:
            self.state.look_back.compare(self._book.path, self._number)

    def _take_line(self, line: Line) -> bool:
        if isinstance(line, BlockLine):
            self.state.blocks.stand(line, self._number, self.state.tree)
        return isinstance(line, BlockLine)

    def _compare(self) -> None:
        state = self.state
        self._check.compare(state.tree.size, state.tree.root(), state.blocks.agreement)
