"""Step 5: each sealed root is the tree's root at that size, and the blocks are chained.

A block's line stands where the log has the block's size, so its root is compared with the tree as it is
there. The event that sealed the block follows later: it must say the same, and continue the chain of blocks.
"""

from hashlib import sha256
from typing import NamedTuple

from ledger.book_file import BlockLine, block_line
from ledger.canonical import encode
from ledger.errors import Contradiction
from ledger.events import BlockSealed
from ledger.registry import Registry
from ledger.verify.log_tree import LogTree
from ledger.verify.report import BLOCKS, Findings, Place

WAITING_MAX = 1_000
"""Blocks whose event has not come: a book that seals what it has holds one at a time."""


class _Waiting(NamedTuple):
    line: BlockLine
    number: int  # of the line
    fault: str


class Blocks:
    """The blocks of one book, as its lines and its events tell of them."""

    def __init__(self, community: str, registry: Registry, findings: Findings) -> None:
        self.good = 0
        self.good_size = 0
        self.bad_size = 0
        self._community = community
        self._registry = registry
        self._findings = findings
        self._waiting: dict[int, _Waiting] = {}

    @property
    def agreement(self) -> str:
        """How far the blocks confirm the log, in words."""
        good = f"the blocks agree with the first {self.good_size:,} entries" if self.good_size else ""
        bad = f"not with the first {self.bad_size:,}" if self.bad_size else ""
        return ", ".join(part for part in (good, bad) if part)

    def stand(self, line: BlockLine, number: int, tree: LogTree) -> None:
        """A block line stands where the log is `tree`."""
        fault = self._fault(line, tree)
        if fault:
            self.bad_size = self.bad_size or line.block.size
        else:
            self.good_size = line.block.size if not self.bad_size else self.good_size
        if line.block.number in self._waiting:
            self._findings.add(BLOCKS, f"block {line.block.number} is here again", Place(number))
            return
        if len(self._waiting) >= WAITING_MAX:
            what = f"before block {line.block.number} are {WAITING_MAX:,} whose event has not come"
            self._findings.add(BLOCKS, what, Place(number))
            return
        self._waiting[line.block.number] = _Waiting(line, number, fault)

    def _fault(self, line: BlockLine, tree: LogTree) -> str:
        block = line.block
        if block.community != self._community:
            return f"block {block.number} is of another community: {block.community}"
        if block.size != tree.size:
            return f"block {block.number} seals {block.size} entries and stands where there are {tree.size}"
        if block.root != tree.root().hex():
            return f"the root of block {block.number} is not the root over {block.size} entries"
        if line.hash != sha256(encode(block)).hexdigest():
            return f"the hash of block {block.number} is not the hash of its bytes"
        return ""

    def seal(self, event: BlockSealed, position: int, place: Place) -> None:
        """The event at `position` seals a block."""
        waiting = self._waiting.pop(event.number, None)
        if waiting is None:
            what = f"block {event.number} has no line where the log had {event.size} entries"
            self._findings.add(BLOCKS, what, place)
        elif waiting.fault:
            self._findings.add(BLOCKS, waiting.fault, place._replace(line=waiting.number))
        elif waiting.line != block_line(self._community, position, event):
            what = f"the line of block {event.number} differs from the event that sealed it"
            self._findings.add(BLOCKS, what, place._replace(line=waiting.number))
        else:
            self.good += 1
        try:
            self._registry.apply(event)
        except Contradiction as error:
            self._findings.add(BLOCKS, f"{error.what} ({error.where})", place)
            self._registry.last_block = event  # so that the next one is judged by itself

    def end(self, *, is_cut: bool) -> None:
        """The book is over: every block line must have had its event, if the file is not cut off before."""
        for waiting in self._waiting.values():
            what = waiting.fault or f"no event seals block {waiting.line.block.number}"
            if waiting.fault or not is_cut:
                self._findings.add(BLOCKS, what, Place(waiting.number))
