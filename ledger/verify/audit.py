"""What the readings of both kinds of file share: the keys at the beginning, the form of each line, the end.

A whole book (`ledger.verify.community`) and a meter's extract (`ledger.verify.extract`) differ in the lines
between.
"""

from abc import ABC, abstractmethod

from ledger.book_file import CheckpointLine, Header, KeyLine, Line, check_canonical, kind_of, parse_line
from ledger.canonical import Malformed, NotCanonical
from ledger.keys import key_id
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.lines import BookLines, FileCut
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

_COPY_AGAIN = "it was not copied whole: copy it again"


class Audit(ABC):
    """One reading of one file."""

    not_applicable: tuple[int, ...] = ()
    readings = 0
    """How many readings of its meter an extract has shown."""

    def __init__(self, book: BookLines, header: Header, check: CheckpointCheck, findings: Findings) -> None:
        self.state = State(header.community, findings)
        self._book = book
        self._header = header
        self._check = check
        self._findings = findings
        self._number = 1  # of the newest line; the header is the first
        self._keys: dict[str, bytes] = {}

    @property
    @abstractmethod
    def events(self) -> int:
        """How many events were read."""

    @property
    def notes(self) -> list[str]:
        """What the reader of the report has to know besides the verdicts."""
        return []

    @property
    def summaries(self) -> dict[int, str]:
        """What each step has checked."""
        state = self.state
        return {
            FORM: counted(self._number, "line"),
            SIGNATURES: f"{counted(state.envelopes, 'envelope')}, {counted(len(state.history.keys), 'key')}",
            CHAINS: f"{counted(self.events, 'event')} in {counted(len(state.heads), 'stream')}",
            LOG: self._check.summary,
            BLOCKS: "",
            PLAUSIBILITY: f"the readings of {counted(state.readings.meters, 'meter')}",
        }

    def run(self, progress: Progress) -> None:
        """Read all lines after the header. Findings may end it early by raising `Stopped`."""
        try:
            self._read_keys()
            self._read_log(progress)
        except FileCut as error:
            self._findings.add(FORM, error.what, Place(self._number + 1), error.hint)
        if not self._book.ends_with_newline:
            self._findings.add(FORM, "the file ends within a line", Place(self._number), _COPY_AGAIN)
        self._end()

    @abstractmethod
    def _read_log(self, progress: Progress) -> None:
        """Read what follows the keys."""

    @abstractmethod
    def _take_line(self, line: Line) -> bool:
        """Go on with a line between keys and checkpoint. False if it does not belong into this file."""

    @abstractmethod
    def _compare(self) -> None:
        """Hold what was read against the checkpoint, which was opened."""

    # --- lines -----------------------------------------------------------------------------------

    def _read_keys(self) -> None:
        """The keys by id. What else the lines say is held against the events when those are known."""
        while kind_of(data := self._book.next_line()) == b"key":
            self._number += 1
            line = self._parsed(data.removesuffix(b"\n"))
            if isinstance(line, KeyLine):
                public = bytes.fromhex(line.key.public_key)
                if line.key.id == key_id(public):
                    self._keys[line.key.id] = public
        self._book.hold(data)

    def _take(self, data: bytes) -> None:
        """Any line after the keys, without its newline."""
        if self._check.is_found:
            self._findings.add(FORM, "something follows the checkpoint", Place(self._number))
            return
        line = self._parsed(data)
        if isinstance(line, CheckpointLine):
            self._check.found(line.checkpoint, self._number)
        elif line is not None and not self._take_line(line):
            kind = kind_of(data).decode()
            self._findings.add(FORM, f"a line {kind!r} does not belong here", Place(self._number))

    def _parsed(self, data: bytes) -> Line | None:
        """Step 1: the line, if it can be read."""
        try:
            line = parse_line(data)
            check_canonical(line, data)
        except Malformed as error:
            self._findings.add(FORM, words(error), Place(self._number))
            return None
        except NotCanonical as error:
            self._findings.add(FORM, words(error), Place(self._number))
        return line

    # --- the end ---------------------------------------------------------------------------------

    def _end(self) -> None:
        self._read_again()
        self.state.blocks.end(is_cut=not self._check.is_found)
        if self._check.is_found:
            opened = self.state.registry.opened
            if self._check.open(opened.log_key if opened else ""):
                self._compare()
        else:
            self._findings.add(FORM, "the file ends without a checkpoint", Place(self._number), _COPY_AGAIN)
            self._findings.leave("there is no checkpoint to compare with", LOG)
        self._admit()

    def _read_again(self) -> None:
        """Compare what was not kept: the events that envelopes repeat, and the keys."""
        try:
            self.state.look_back.compare(self._book.path, self._number)
            if self._check.is_found:
                self.state.check_keys(self._book.path)
        except FileCut as error:
            self._findings.add(FORM, error.what, Place(self._number), error.hint)
            self._findings.leave("the file could not be read a second time", SIGNATURES, CHAINS)

    def _admit(self) -> None:
        """Say of no step that it has passed if it has not seen everything that it is about."""
        signed = self._check.checkpoint
        told = self._header.events or (signed.size if signed else self._header.size)
        if self.events < told:
            why = f"the file shows {self.events:,} of {told:,} events"
            self._findings.leave(why, SIGNATURES, CHAINS, LOG, BLOCKS, PLAUSIBILITY)
        if not self._check.is_found:
            why = "the file ends without its checkpoint: what came before that was not seen"
            self._findings.leave(why, SIGNATURES, CHAINS, BLOCKS, PLAUSIBILITY)
        if not self.state.readings.meters:
            self._findings.leave("there are no readings", PLAUSIBILITY)
