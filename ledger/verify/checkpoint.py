"""Step 4: the checkpoint at the end of a file, whose signatures it bears, and what it says of the log."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ledger.book_file import Header
from ledger.clock import rfc3339
from ledger.cosignature import cosignature_of
from ledger.errors import BadInput
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.verify.report import CHAINS, FORM, LOG, SIGNATURES, Findings, Place
from ledger.verify.state import words

_IS_IT_THE_KEY = (
    "is this the log's key (--log-key)? compare it with the one that the ledger publishes; if it is, whoever"
    " wrote this file had another: ask for a new export"
)
_ASK_FOR_COSIGNED = (
    "is this its key (--witness)? if it is, ask for an export up to a checkpoint that it has cosigned: the"
    " ledger makes such with a `quorum` of witnesses in its settings"
)
_SECONDS_TOLD_MAX = 253_402_300_799
"""The end of the year 9999."""


class CheckpointCheck:
    """Checks the checkpoint with the key that the auditor pinned, or else with the one the book names; and
    that each of the witnesses whom the auditor trusts has cosigned it."""

    def __init__(
        self, header: Header, pinned: Verifier | None, findings: Findings, witnesses: Sequence[Verifier] = ()
    ) -> None:
        self.checkpoint: Checkpoint | None = None
        self.log_key = str(pinned) if pinned else ""
        self._header = header
        self._pinned = pinned
        self._findings = findings
        self._witnesses = witnesses
        self._cosigned: list[str] = []
        self._note = ""
        self._place = Place()

    @property
    def is_found(self) -> bool:
        """Whether the file's last line was read."""
        return bool(self._place.line)

    @property
    def is_pinned(self) -> bool:
        """Whether the auditor brought the key."""
        return self._pinned is not None

    @property
    def notes(self) -> list[str]:
        """What the reader has to know about the keys."""
        if self._pinned or not self.log_key:
            return self._cosigned
        return [
            *self._cosigned,
            "no log key was given, so the one in the book was used; whoever wrote the whole file anew would"
            f" have put in another: compare it with the key that the ledger publishes: {self.log_key}",
        ]

    @property
    def summary(self) -> str:
        """What was checked."""
        if self.checkpoint is None:
            return ""
        whose = "the pinned key" if self._pinned else "the key that the book itself names"
        return f"{self.checkpoint.size:,} entries, as {self.checkpoint.origin} signed with {whose}"

    def found(self, note: str, number: int) -> None:
        """The checkpoint stands in line `number`."""
        self._note, self._place = note, Place(number)

    def open(self, book_key: str) -> bool:
        """Check the signature of the checkpoint, which was found; `book_key` is what the book's first event
        names. False if it does not hold."""
        try:
            if self._pinned and book_key and book_key != self.log_key:
                self._findings.add(
                    LOG, f"the book names another log key: {book_key}", Place(), _IS_IT_THE_KEY
                )
            if not self._pinned and not book_key:
                what = "the book lacks its first event, which names the log key, and no key was given"
                self._findings.add(LOG, what, self._place)
                return False
            verifier = self._pinned or Verifier.parse(book_key)
            self.log_key = str(verifier)
            self.checkpoint = open_checkpoint(self._note, verifier)
        except BadInput as error:
            hint = _IS_IT_THE_KEY if self._pinned else ""
            self._findings.add(LOG, f"the checkpoint: {words(error)}", self._place, hint)
            return False
        if book_key and book_key != self._header.log_key:
            self._findings.add(LOG, "the header names another log key than the book", Place(1))
        if self.checkpoint.size != self._header.size:
            what = f"the header says {self._header.size} entries, the checkpoint {self.checkpoint.size}"
            self._findings.add(LOG, what, Place(1))
        for witness in self._witnesses:
            self._see_cosigned(witness)
        return True

    def _see_cosigned(self, witness: Verifier) -> None:
        try:
            made = cosignature_of(self._note, witness)
        except BadInput as error:
            self._findings.add(LOG, f"the witness {witness.name}: {words(error)}", self._place)
            return
        if made is None:
            what = f"the witness {witness.name} has not cosigned the checkpoint"
            self._findings.add(LOG, what, self._place, _ASK_FOR_COSIGNED)
            return
        at = f"{made.seconds} s after 1970"
        if made.seconds <= _SECONDS_TOLD_MAX:
            at = rfc3339(datetime.fromtimestamp(made.seconds, UTC))
        self._cosigned.append(f"the witness {witness.name} cosigned the checkpoint at {at}")

    def compare(self, size: int, root: bytes, agreement: str) -> None:
        """Hold the log of the file against the checkpoint, which was opened. `agreement` is told with a
        difference: how far something else confirms the log."""
        if self.checkpoint is None or (self.checkpoint.size, self.checkpoint.root) == (size, root):
            return
        if self.checkpoint.size != size:
            what = f"the checkpoint is of {self.checkpoint.size} entries, the file has {size}"
        else:
            what = f"the root over {size} entries is not the one that was signed"
        # What broke the log was in most cases seen where it happened.
        cause = next(self._findings.first((CHAINS, SIGNATURES, FORM)), None)
        place = Place(cause.line, cause.stream, cause.sequence) if cause else self._place
        self._findings.add(LOG, f"{what}; {agreement}" if agreement else what, place)
