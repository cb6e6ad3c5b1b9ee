"""The hot loop: an envelope line that is in order, checked as a whole and as fast as Python can.

Nearly every line of a book brings new readings of meters and nothing is wrong with it. Such a line is decoded
once, encoded again and compared byte for byte (step 1); its entries are hashed from its own bodies and
compared with the hashes that the line gives (step 3); its signature is checked with the key that the file
lists under its id (step 2); and its readings are summed up as far as plausibility needs them (step 6). None
of this depends on any other line, so lines may be read in any order and by several processes.

What does depend on others (whether that key was valid there, whether the chain and the log go on, how the
readings follow the last ones) is for `ledger.verify.audit` to see. For a line that is in any way out of the
ordinary, `PlainReader.read` answers None, and `ledger.verify.closely` takes it apart step by step.
"""

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Annotated

import msgspec

from ledger.canonical import UNREADABLE
from ledger.entry import Head, chain, is_stream
from ledger.envelope import EVENTS_MAX, RunHead, Signature, Stream, signed_text
from ledger.event import HashHex, KeyId, Name, Natural, Positive
from ledger.events import MeterRead
from ledger.keys import PublicKey, unb64

METER = "meter/"
_ONE_SECOND = timedelta(seconds=1)
_LONG = timedelta(days=400_000)


class _Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    bodies: Annotated[list[MeterRead], msgspec.Meta(min_length=1)]
    first: Positive
    previous: HashHex
    stream: Stream


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    community: Name
    device: Name
    key: KeyId
    runs: Annotated[list[_Run], msgspec.Meta(min_length=1)]
    signature: Signature


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    envelope: _Envelope
    hashes: str
    position: Natural


class _RunBytes(msgspec.Struct, gc=False):
    """A run whose bodies are encoded already."""

    bodies: msgspec.Raw
    first: int
    previous: str
    stream: str


class PlainRun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """New readings of one meter: each later than the one before it, no register ever back, one serial number.

    `head` is the last entry hash; the steps are the largest between neighbours, the gap is the smallest.
    """

    stream: str
    first: int
    last: int
    previous: bytes
    head: bytes
    opening: MeterRead
    closing: MeterRead
    import_step_wh: int
    export_step_wh: int
    gap_seconds: int


class PlainEnvelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An envelope line that is sound in itself. `leaves` are its entry hashes in a row, 32 bytes each."""

    position: int
    device: str
    key: str
    runs: list[PlainRun]
    leaves: bytes


_decode = msgspec.json.Decoder(_Line).decode
encode = msgspec.json.Encoder(order="sorted").encode
"""As `ledger.canonical.encode`, without the step through Python for every body."""


class PlainReader:
    """Reads the lines of one book. `keys` are the public keys that the file lists, by id."""

    def __init__(self, community: str, keys: Mapping[str, bytes]) -> None:
        self._community = community
        self._listed = keys
        self._keys: dict[str, PublicKey] = {}  # those that sign something

    def read(self, data: bytes) -> PlainEnvelope | None:
        """The envelope in a line given without its newline, if it is sound and brings readings only."""
        try:
            line = _decode(data)
            signature = unb64(line.envelope.signature)
        except (*UNREADABLE, ValueError):
            return None
        envelope = line.envelope
        key = self._keys.get(envelope.key) or self._key(envelope.key)
        if key is None or envelope.community != self._community:
            return None
        runs, written, leaves = [], [], []
        for run in envelope.runs:
            bodies = list(map(encode, run.bodies))
            head = Head(run.first - 1, bytes.fromhex(run.previous))
            links = chain(self._community, run.stream, head, bodies)
            plain = _sum_up(run, links[-1].entry_hash)
            if plain is None:
                return None
            runs.append(plain)
            leaves += [link.entry_hash for link in links]
            raw = msgspec.Raw(b"[" + b",".join(bodies) + b"]")
            written.append(_RunBytes(raw, run.first, run.previous, run.stream))
        joined = b"".join(leaves)
        if (
            joined.hex() != line.hashes
            or not _is_written_so(line, written, data)
            or not _are_fit(runs, leaves)
        ):
            return None
        heads = [RunHead(run.stream, run.first, run.last, run.head) for run in runs]
        if not key.verifies(signature, signed_text(self._community, envelope.device, heads)):
            return None
        return PlainEnvelope(line.position, envelope.device, envelope.key, runs, joined)

    def _key(self, name: str) -> PublicKey | None:
        try:
            return self._keys.setdefault(name, PublicKey(self._listed[name]))
        except (KeyError, ValueError):
            return None  # not listed, or one that nobody can sign with: looked at closely


def _is_written_so(line: _Line, runs: list[_RunBytes], data: bytes) -> bool:
    """Whether `data` is what encoding its content gives: the line is canonical, and so is each body in it."""
    envelope = line.envelope
    sent = {
        "community": envelope.community,
        "device": envelope.device,
        "key": envelope.key,
        "runs": runs,
        "signature": envelope.signature,
    }
    return encode({"envelope": sent, "hashes": line.hashes, "position": line.position}) == data


def _are_fit(runs: list[PlainRun], leaves: list[bytes]) -> bool:
    """Whether the envelope keeps to what `ledger.envelope.read_envelope` asks of its runs."""
    streams = {run.stream for run in runs}
    return (
        len(leaves) <= EVENTS_MAX
        and len(streams) == len(runs)
        and all(stream.startswith(METER) and is_stream(stream) for stream in streams)
    )


def _sum_up(run: _Run, head: bytes) -> PlainRun | None:
    """What plausibility needs of a run; None when an instant is odd, or time or a register went back."""
    events = run.bodies
    opening = before = events[0]
    at, import_wh, export_wh, serial = (
        before.measured_at, before.import_wh, before.export_wh, before.serial,
    )  # fmt: skip
    if at.tzinfo is not UTC or at.microsecond:
        return None
    import_max = export_max = 0
    gap_min = _LONG
    for event in events[1:]:
        next_at, next_import, next_export = event.measured_at, event.import_wh, event.export_wh
        if next_at.tzinfo is not UTC or event.serial != serial:
            return None
        gap = next_at - at
        if gap != gap_min:
            if gap < _ONE_SECOND or gap.microseconds:
                return None
            gap_min = min(gap, gap_min)
        step = next_import - import_wh
        if step > import_max:
            import_max = step
        elif step < 0:
            return None
        step = next_export - export_wh
        if step > export_max:
            export_max = step
        elif step < 0:
            return None
        at, import_wh, export_wh = next_at, next_import, next_export
    return PlainRun(
        stream=run.stream,
        first=run.first,
        last=run.first + len(events) - 1,
        previous=bytes.fromhex(run.previous),
        head=head,
        opening=opening,
        closing=events[-1],
        import_step_wh=import_max,
        export_step_wh=export_max,
        gap_seconds=gap_min // _ONE_SECOND,
    )
