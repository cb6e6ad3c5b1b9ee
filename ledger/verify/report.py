"""What a verification says: one verdict a step, each by itself, and the first bad place of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

Progress = Callable[[int, int], None]
"""Told now and then how many events are done, and of how many."""

Status = Literal["pass", "fail", "warnings", "not checked"]

FORM, SIGNATURES, CHAINS, LOG, BLOCKS, PLAUSIBILITY = range(1, 7)

STEPS: dict[int, tuple[str, str]] = {
    FORM: ("form", "canonical lines and bodies, known types"),
    SIGNATURES: ("keys and signatures", "each envelope by the key that was valid there, within its rights"),
    CHAINS: ("chains", "sequence, previous hash and entry hash of every event"),
    LOG: ("log", "the tree over all entries is the one that the checkpoint signs"),
    BLOCKS: ("blocks", "each sealed root is the tree's root at that size; the blocks are chained"),
    PLAUSIBILITY: (
        "plausibility",
        "readings go forward, in time and in energy that the connection can carry",
    ),
}
"""The steps by number: name and what is checked. Each verdict stands for itself."""

PROOF_STEPS = (FORM, SIGNATURES, CHAINS, LOG, BLOCKS)
"""The steps that prove. Plausibility judges what was proven: an implausible reading is an authentic one."""

FINDINGS_KEPT = 10
FINDINGS_KEPT_WHEN_ALL = 10_000
FAULTS_MAX = 10_000
"""Faults of form, or of the chains, after which the reading is broken off: so that what a file brings without
right entry hashes cannot fill the memory."""

UNREAD = "what an event says could not be read, so it could not be judged"
_WORDS_MAX = 250


class Place(NamedTuple):
    """Where in the file, and where in the book as far as that is known."""

    line: int = 0
    stream: str = ""
    sequence: int = 0


def counted(number: int, noun: str) -> str:
    """`1 meter`, `2 meters`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not as it should be, and what to do about it where that is known."""

    what: str
    line: int = 0
    stream: str = ""
    sequence: int = 0
    hint: str = ""

    @property
    def where(self) -> str:
        """The place in words."""
        event = f"{self.stream} {self.sequence}" if self.stream else ""
        line = f"line {self.line}" if self.line else ""
        return ", ".join(part for part in (event, line) if part)


def _shown(text: str) -> str:
    """A text as it may be shown: what a file says must not steer the terminal of who reads about it."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:_WORDS_MAX])


class Verdict(msgspec.Struct, frozen=True):
    """What one step has come to. `findings` are in order of the file, the first of `found` of them."""

    step: int
    name: str
    status: Status
    summary: str
    findings: list[Finding]
    found: int


class Report(msgspec.Struct, frozen=True):
    """A whole verification. `log_key` is the C2SP verifier key that the checkpoint was checked with; of an
    extract `meter` and `readings` tell whose it is and how many readings of that meter were seen in it."""

    file: str
    community: str
    scope: str
    meter: str
    readings: int
    events: int
    size: int
    root: str
    log_key: str
    pinned: bool
    verified: bool
    verdicts: list[Verdict]
    notes: list[str]


class Stopped(Exception):
    """The reading ends here, and why."""


class Findings:
    """Takes down what the steps find. Keeps a bounded number of each step and counts the rest."""

    def __init__(
        self,
        *,
        until_first: bool = False,
        keep: int = FINDINGS_KEPT,
        further: Mapping[int, str] | None = None,
    ) -> None:
        """`further` are the names of steps that come behind those of this package."""
        self.names = {step: name for step, (name, _) in STEPS.items()} | dict(further or {})
        self._until_first = until_first
        self._keep = keep
        self._found: dict[int, list[Finding]] = {step: [] for step in self.names}
        self._count = dict.fromkeys(self.names, 0)
        self._unchecked: dict[int, str] = {}

    def add(self, step: int, what: str, place: Place, hint: str = "") -> None:
        """Something is wrong at `place`. Raises `Stopped` when the first such thing is enough, and when there
        are `FAULTS_MAX`."""
        if self._count[step] < self._keep:
            stream = _shown(place.stream)
            self._found[step].append(Finding(_shown(what), place.line, stream, place.sequence, hint))
        self._count[step] += 1
        if self._until_first and step != PLAUSIBILITY:
            raise Stopped("stopped at the first thing that is wrong")
        if step in (FORM, CHAINS) and self._count[step] >= FAULTS_MAX:
            what = f"broken off at line {place.line}, after {FAULTS_MAX:,} faults of its {STEPS[step][0]}"
            raise Stopped(what)

    def leave(self, why: str, *steps: int) -> None:
        """These steps cannot be checked to their end. The first reason is told, unless they fail."""
        for step in steps:
            self._unchecked.setdefault(step, why)

    def count(self, step: int) -> int:
        """How much a step has found."""
        return self._count[step]

    def first(self, steps: tuple[int, ...] = PROOF_STEPS) -> Iterator[Finding]:
        """The first finding of each of `steps` that has one."""
        return (self._found[step][0] for step in steps if self._found[step])

    def are_proven(self, steps: Iterable[int]) -> bool:
        """Whether these steps have seen all and found nothing."""
        return not any(self._count[step] or step in self._unchecked for step in steps)

    def verdict(self, step: int, summary: str) -> Verdict:
        """The verdict on a step, whose `summary` is told when nothing else has to be."""
        status: Status = "pass"
        if self._count[step]:
            status = "warnings" if step == PLAUSIBILITY else "fail"
            summary = self._found[step][0].what
        elif step in self._unchecked:
            status, summary = "not checked", self._unchecked[step]
        return Verdict(step, self.names[step], status, summary, self._found[step], self._count[step])
