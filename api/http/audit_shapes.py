"""What an auditor is told of streams, entries and envelopes. Hashes and keys are lowercase hex."""

import msgspec

from ledger.envelope import signed_text
from ledger.keys import b64
from ledger.postgres.audit import AuditRow, SignedEnvelope, StreamRow


class StreamShape(msgspec.Struct, frozen=True):
    """A stream and its head: the sequence of its newest event and that event's entry hash."""

    stream: str
    sequence: int
    hash: str


def stream_shape(row: StreamRow) -> StreamShape:
    """As the API shows it."""
    return StreamShape(row.stream, row.sequence, row.hash.hex())


class EntryShape(msgspec.Struct, frozen=True):
    """An event of a stream: its place in the log and in the stream, the SHA-256 of its body, its entry hash,
    and the position of the envelope that brought it. `body` is the text that was signed, byte for byte.
    """

    position: int
    sequence: int
    body_hash: str
    entry_hash: str
    envelope: int
    body: str


def entry_shape(row: AuditRow) -> EntryShape:
    """As the API shows it."""
    return EntryShape(
        row.position, row.sequence, row.body_hash.hex(), row.entry_hash.hex(), row.envelope,
        row.body.decode(),
    )  # fmt: skip


class RunPart(msgspec.Struct, frozen=True):
    """Events `first` to `last` of a stream: the entry hash before them (64 zeros before sequence 1), and
    `head`, that of the last one, which commits to all before it."""

    stream: str
    first: int
    last: int
    previous: str
    head: str


class EnvelopeShape(msgspec.Struct, frozen=True):
    """An envelope without bodies. `signature` (Ed25519, base64) covers `signed_text`, which is made of
    community, device and runs; `key` is the first 8 bytes of the SHA-256 of `public_key`, the key that the
    book's own events had given the device by then."""

    position: int
    device: str
    key: str
    public_key: str
    signature: str
    signed_text: str
    runs: list[RunPart]


def envelope_shape(community: str, found: SignedEnvelope) -> EnvelopeShape:
    """As the API shows it."""
    row = found.row
    runs = [
        RunPart(head.stream, head.first, head.last, run.previous, head.head.hex())
        for run, head in zip(found.runs, found.heads, strict=True)
    ]
    text = signed_text(community, row.device, list(found.heads)).decode()
    return EnvelopeShape(row.position, row.device, row.key, found.public_key, b64(row.signature), text, runs)
