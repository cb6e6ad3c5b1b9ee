"""What an auditor remembers while reading a community's book: as much as the writer does, and no more.

Heads of streams, the registry, the newest readings and the tree's right edge: nothing here grows with the
number of events.
"""

from ledger.book_file import Key
from ledger.entry import EMPTY, Head
from ledger.errors import BadInput
from ledger.events import AnyEvent, BlockSealed, MeterRead, RegisterEpochOpened
from ledger.key_history import KeyHistory
from ledger.registry import Contradiction, Registry
from ledger.verify.blocks import Blocks
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
        self.listed: list[Key] = []
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

    def check_keys(self) -> None:
        """Hold the keys that the file lists against those that its events tell of."""
        told = self.history.keys
        for number, (listed, key) in enumerate(zip(self.listed, told, strict=False), 2):
            if listed != key:
                what = f"the key listed for {listed.device} is not what the events say of {key.device}"
                self.findings.add(SIGNATURES, what, Place(number))
                return
        if len(self.listed) != len(told):
            what = f"{len(self.listed)} keys are listed, the events tell of {len(told)}"
            self.findings.add(SIGNATURES, what, Place(min(len(self.listed), len(told)) + 2))


def words(error: BadInput) -> str:
    """What an error says, with the place it names."""
    return f"{error.what} ({error.where})" if error.where else error.what
