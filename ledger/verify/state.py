"""What an auditor remembers while reading a book: as much as the writer does, and no more.

Heads of streams, the registry and its keys, the newest readings, the tree's right edge: memory is a function
of how many meters, devices and buildings the registry names, not of how many events there are.

A file that lies cannot make it grow faster than itself, however well it is compressed. What is remembered was
brought by an event; an event has the entry hash that it should have, which is 32 bytes that do not compress,
or is a fault of its chain; and after `FAULTS_MAX` of those the reading is broken off. Of the keys, which are
listed before the events, only those are remembered whose id is their hash; the lists are compared in a second
reading.
"""

from pathlib import Path

from ledger.book_file import KeyLine, kind_of
from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.errors import BadInput, Contradiction
from ledger.events import AnyEvent, BlockSealed, MeterRead, RegisterEpochOpened
from ledger.key_history import KeyHistory
from ledger.registry import Registry
from ledger.verify.blocks import Blocks
from ledger.verify.lines import BookLines
from ledger.verify.log_tree import LogTree
from ledger.verify.look_back import LookBack
from ledger.verify.readings import Readings
from ledger.verify.report import PLAUSIBILITY, SIGNATURES, Findings, Place


class State:
    """The book as far as it was read."""

    def __init__(self, community: str, findings: Findings) -> None:
        self.community = community
        self.findings = findings
        self.registry = Registry(community)
        self.history = KeyHistory()
        self.heads: dict[str, Head] = {}
        self.tree = LogTree()
        self.position = 0
        self.readings = Readings(self.registry)
        self.blocks = Blocks(community, self.registry, findings)
        self.look_back = LookBack(findings)
        self.envelopes = 0

    def head(self, stream: str) -> Head:
        """Where the chain of a stream goes on."""
        return self.heads.get(stream, EMPTY)

    def apply(self, event: AnyEvent, position: int, place: Place) -> None:
        """Take in a new event of the registry or of a device."""
        if isinstance(event, BlockSealed):
            self.blocks.seal(event, position, place)
            return
        try:
            self.registry.apply(event)
        except Contradiction as error:
            self.findings.add(SIGNATURES, f"{error.what} ({error.where})", place)
            return
        self.history.take(position, event)
        if isinstance(event, RegisterEpochOpened):
            self.readings.open_epoch(event)

    def read(self, meter: str, reading: MeterRead, place: Place) -> None:
        """Take in a new reading of a meter."""
        if meter in self.registry.meters and (why := self.readings.take(meter, reading)):
            self.findings.add(PLAUSIBILITY, why, place)

    def check_keys(self, path: Path) -> None:
        """Hold the keys that the file lists, read once more, against those that its events told of."""
        told = self.history.keys
        with BookLines(path) as lines:
            lines.next_line()  # the header
            for number, key in enumerate(told, 2):
                if lines.next_line() != encode(KeyLine(key)) + b"\n":
                    what = f"the events tell here of key {key.id} of {key.device}, and the list does not"
                    self.findings.add(SIGNATURES, what, Place(number))
                    return
            if kind_of(lines.next_line()) == b"key":
                what = f"more keys are listed than the {len(told)} that the events tell of"
                self.findings.add(SIGNATURES, what, Place(len(told) + 2))


def words(error: BadInput) -> str:
    """What an error says, with the place it names."""
    return f"{error.what} ({error.where})" if error.where else error.what
