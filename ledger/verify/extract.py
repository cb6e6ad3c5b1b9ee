"""A meter's extract, read from its first line to its last.

What a reader can conclude when it is verified: the events shown are in the log that the checkpoint signs,
each at its position; the meter's chain is whole from its first event to the last one shown; each was signed
by a device that the registry had made the meter's reader, with a key that the registry shown had not ended;
and of the registry and the device chains shown nothing is left out before the last entry shown of each, so
that an event which ends a key cannot be missing in between: it would be seen as withheld.

What a reader cannot conclude: what a withheld event says (it can be asked for: its hash is fixed); that there
are no newer events of the meter, the registry or a device than the last ones shown (who keeps an older
extract or checkpoint can ask for more); and that the blocks are in order, which takes the whole book.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from ledger.book_file import Entry, EntryLine, Header, Line, Signed, SignedLine, Withheld, WithheldLine
from ledger.entry import Head, entry_bytes, entry_hash, stream_kind, stream_subject
from ledger.envelope import EVENTS_MAX, RunHead, signed_text
from ledger.errors import BadInput
from ledger.events import AnyEvent, CommunityOpened, MeterRead, read_bodies
from ledger.keys import unb64
from ledger.merkle import ProofError, path_root
from ledger.verify.audit import Audit
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.lines import BookLines
from ledger.verify.report import (
    BLOCKS,
    CHAINS,
    FORM,
    LOG,
    PLAUSIBILITY,
    SIGNATURES,
    UNREAD,
    Findings,
    Place,
    Progress,
    counted,
)
from ledger.verify.state import words

ROOTS_MAX = 10_000
"""Roots to which the proofs of one file may lead before another one is refused at sight: one is right."""


@dataclass(slots=True)
class _Group:
    """An envelope without bodies, and the events that it brought as far as they can be read."""

    signed: Signed
    number: int
    events: list[tuple[Place, int, AnyEvent]] = field(default_factory=list)
    entries: int = 0

    def covers(self, stream: str, sequence: int) -> bool:
        """Whether the envelope signs this event."""
        return any(run.stream == stream and run.first <= sequence <= run.last for run in self.signed.runs)

    @property
    def start(self) -> Place:
        """Where the envelope begins."""
        return Place(self.number, self.signed.runs[0].stream, self.signed.runs[0].first)


class ExtractAudit(Audit):
    """One reading of one extract."""

    not_applicable = (BLOCKS,)

    def __init__(self, book: BookLines, header: Header, check: CheckpointCheck, findings: Findings) -> None:
        super().__init__(book, header, check, findings)
        self._own = f"meter/{header.meter}"
        self._events = 0
        self._group: _Group | None = None
        self._roots: dict[bytes, Place] = {}
        self._position = -1
        self._shown_until = {"registry": -1, self._own: -1}
        self._withheld = 0
        findings.leave("an extract holds no blocks; they are checked with the whole book", BLOCKS)

    @property
    def events(self) -> int:
        return self._events

    @property
    def summaries(self) -> dict[int, str]:
        of_all = super().summaries
        withheld = f", {self._withheld} of them without their bodies" if self._withheld else ""
        return of_all | {
            CHAINS: f"{of_all[CHAINS]}{withheld}",
            LOG: f"{counted(self.events, 'inclusion proof')} into {of_all[LOG]}",
        }

    @property
    def notes(self) -> list[str]:
        """How far the extract reaches."""
        registry, own = self._shown_until["registry"], self._shown_until[self._own]
        notes = []
        if self._withheld:
            notes.append(
                f"{counted(self._withheld, 'event')} of the registry and devices are without their bodies:"
                " what they say, the end of a key among it, is taken on trust; the whole book shows them"
            )
        if own > registry:
            notes.append(
                f"the registry is shown up to position {registry}: that it ended a key between there and the"
                f" meter's last event at {own} cannot be excluded from an extract"
            )
        return notes

    def _read_log(self, progress: Progress) -> None:
        while data := self._book.next_line():
            self._number += 1
            self._take(data.removesuffix(b"\n"))
            progress(self.events, self._header.events or 0)

    def _take_line(self, line: Line) -> bool:
        match line:
            case SignedLine(signed=signed):
                self._close_group()
                self._open_group(signed)
            case EntryLine(entry=entry) | WithheldLine(withheld=entry):
                self._take_entry(entry)
            case _:
                return False
        return True

    def _open_group(self, signed: Signed) -> None:
        group = _Group(signed, self._number)
        events = sum(run.last - run.first + 1 for run in signed.runs)
        if any(run.last < run.first for run in signed.runs):
            self._findings.add(FORM, "a run of the envelope ends before it begins", group.start)
        elif events > EVENTS_MAX:
            what = f"the envelope has {events} events, at most {EVENTS_MAX} are allowed"
            self._findings.add(FORM, what, group.start)
        else:
            self._group = group

    def _take_entry(self, entry: Entry | Withheld) -> None:
        place = Place(self._number, entry.stream, entry.sequence)
        head = self.state.head(entry.stream)
        if entry.sequence != head.sequence + 1:
            what = f"the stream's last event before this one is {head.sequence}"
            self._findings.add(CHAINS, what, place)
        if entry.sequence <= head.sequence:
            return  # it is here again, or too late
        if entry.stream != self._own and stream_kind(entry.stream) not in ("registry", "device"):
            self._findings.add(FORM, f"{entry.stream} does not belong into this extract", place)
        event = self._event(entry, place)
        if self._group is None or not self._group.covers(entry.stream, entry.sequence):
            self._findings.add(SIGNATURES, "no envelope before this event covers it", place)
        else:
            self._group.entries += 1
            if event is not None:
                self._group.events.append((place, entry.position, event))
        self._events += 1
        self.readings += entry.stream == self._own
        self._follow(entry, place)
        self._prove(entry, place)
        if entry.stream in self._shown_until:
            self._shown_until[entry.stream] = entry.position

    def _event(self, entry: Entry | Withheld, place: Place) -> AnyEvent | None:
        """Step 1: the body's content; None where it is withheld or cannot be read."""
        if isinstance(entry, Withheld):
            self._withheld += 1
            if entry.stream == self._own:
                what = "the meter's own event is withheld: no honest extract does that"
                self._findings.add(FORM, what, place)
            return None
        try:
            return read_bodies([bytes(entry.body)])[0]
        except BadInput as error:
            self._findings.add(FORM, error.what.replace("body 0", "the body"), place)
            self._findings.leave(UNREAD, SIGNATURES, PLAUSIBILITY)
            return None

    # --- step 3: chains --------------------------------------------------------------------------

    def _follow(self, entry: Entry | Withheld, place: Place) -> None:
        if isinstance(entry, Entry):
            body_hash = sha256(entry.body).digest()
        else:
            body_hash = bytes.fromhex(entry.body_hash)
        previous = self.state.head(entry.stream).hash
        told = bytes.fromhex(entry.hash)
        text = entry_bytes(self.state.community, entry.stream, entry.sequence, previous, body_hash)
        if entry_hash(text) != told:
            self._findings.add(CHAINS, "the event does not hash to the entry hash that the line gives", place)
        self.state.heads[entry.stream] = Head(entry.sequence, told)

    # --- step 4: log -----------------------------------------------------------------------------

    def _prove(self, entry: Entry | Withheld, place: Place) -> None:
        """Where the entry's proof leads to; whether that is the checkpoint's root is seen at the end."""
        if entry.position <= self._position:
            self._findings.add(LOG, f"position {entry.position} comes after {self._position}", place)
        self._position = entry.position
        proof = [bytes.fromhex(node) for node in entry.proof]
        try:
            root = path_root(entry.position, self._header.size, bytes.fromhex(entry.hash), proof)
        except ProofError as error:
            self._findings.add(LOG, f"the inclusion proof: {error.what}", place)
            return
        if len(self._roots) < ROOTS_MAX:
            self._roots.setdefault(root, place)
        elif root not in self._roots:
            self._findings.add(LOG, "the inclusion proof leads to yet another root", place)

    # --- step 2: keys and signatures ---------------------------------------------------------------

    def _close_group(self) -> None:
        """Check the envelope whose entries were all read, then take in what they say."""
        group, self._group = self._group, None
        if group is None:
            return
        if not group.entries:
            self._findings.add(FORM, "none of the events of this envelope is here", group.start)
        opens = self.state.registry.opened is None
        if opens:
            self._open_book(group)
        self._check_heads(group)
        self._check_signature(group)
        self._check_rights(group)
        for place, position, event in group.events:
            if isinstance(event, MeterRead):
                self.state.read(stream_subject(place.stream), event, place)
            elif not opens:
                self.state.apply(event, position, place)
        self.state.envelopes += 1

    def _open_book(self, group: _Group) -> None:
        """The first envelope brings the keys that it is checked with."""
        if not group.events or not isinstance(group.events[0][2], CommunityOpened):
            what = "the registry is not shown from community-opened on"
            self._findings.add(SIGNATURES, what, group.start)
        for place, position, event in group.events:
            self.state.apply(event, position, place)

    def _check_heads(self, group: _Group) -> None:
        """What is signed must be the chains that are shown."""
        for run in group.signed.runs:
            head = self.state.heads.get(run.stream)
            if head is None:
                continue  # somebody else's stream
            place = Place(group.number, run.stream, run.last)
            if run.last > head.sequence:
                self._findings.add(CHAINS, "the envelope brought this event, and it is not here", place)
            elif run.last < head.sequence:
                self.state.look_back.want(run.stream, run.last, bytes.fromhex(run.head), group.number)
            elif run.head != head.hash.hex():
                self._findings.add(SIGNATURES, "the signed head is not that of the chain", place)
        if self.state.look_back.is_full:
            self.state.look_back.compare(self._book.path, self._number)

    def _check_signature(self, group: _Group) -> None:
        signed = group.signed
        heads = [RunHead(run.stream, run.first, run.last, bytes.fromhex(run.head)) for run in signed.runs]
        try:
            key = self.state.registry.key_of(signed.device, signed.key)
            fits = signed.community == self.state.community and key.verifies(
                unb64(signed.signature), signed_text(signed.community, signed.device, heads)
            )
        except BadInput as error:
            self._findings.add(SIGNATURES, words(error), group.start)
            return
        except ValueError:
            fits = False
        if not fits:
            what = f"the signature of {signed.device} does not fit what it covers"
            self._findings.add(SIGNATURES, what, group.start)

    def _check_rights(self, group: _Group) -> None:
        registry = self.state.registry
        if group.signed.device not in registry.devices:
            return  # said already
        for place, _, event in group.events:
            try:
                registry.check_may_write(group.signed.device, place.stream, [event])
            except BadInput as error:
                self._findings.add(SIGNATURES, words(error), place)

    # --- the end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._check.is_found:  # else the events of the last envelope may have been cut off
            self._close_group()
        if self.events != self._header.events:
            what = f"the header says {self._header.events} events, the file has {self.events}"
            self._findings.add(FORM, what, Place(self._number))
        super()._end()

    def _compare(self) -> None:
        for root, place in self._roots.items():
            if self._check.checkpoint and root != self._check.checkpoint.root:
                self._findings.add(LOG, "the inclusion proof leads to another root than was signed", place)
