"""The book as one file: what an auditor is given, and all that an auditor needs.

A file is lines of canonical JSON (RFC 8785, UTF-8, each ended by one newline), so that it can be taken apart
with `head`, `sed`, `grep` and `sha256sum`. A line is an object whose first key says what it is:

    {"book":{"community":..,"format":"energy-ledger-book/1","log_key":..,"scope":"community","size":N}}
    {"key":{"device":..,"enrolled":N,"id":..,"public_key":..,"role":..}}
    {"block":{..the block's own bytes..},"hash":"<hex>","position":N}
    {"envelope":{..exactly as it was sent..},"hashes":"<hex><hex>..","position":N}
    {"checkpoint":"<signed note>"}                      perhaps with cosignatures of witnesses under it

The header is the first line, the checkpoint the last, keys come before all that they sign, and envelopes and
blocks stand in the order of the log.

- **Nothing in a file has to be believed.** Every byte is signed, or is hashed into something signed, or says
  what follows from the rest and is held against it. That is why the instant at which the ledger recorded an
  envelope is not here: no signature covers it. (A block's `sealed_at`, which the service signs, bounds it.)
- An **envelope** stands where its first new event stands in the log, its `position`. `hashes` holds the entry
  hashes of its *new* events in order of its runs: a changed body is found at its own sequence and not just
  somewhere in the run. Events that an earlier envelope has brought already have no hash here.
  Entries are not written out: their six lines follow from the envelope and the stream.
- A **key** line sums up what the book's events say: the position of the event that `enrolled` the key and of
  the one that `ended` it, if one did. It may sign envelopes that stand after the first and not after the
  second; the service's and the operator's first keys are enrolled at position 0 by the envelope that the
  service's key itself signs. Key lines come first and in order of enrolment, so that signatures can be
  checked without having read the events.
- A **block** stands where the log has just the size that it seals, so the root is checked with what was read
  up to there; `position` is where the event that sealed it follows. The block's hash is that of the text
  between `{"block":` and `,"hash"`.

The header of a meter's extract has scope `meter`, the `meter` and the number of the `events` in the file. Its
lines, in order of the log, are:

    {"signed":{"community":..,"device":..,"key":..,"runs":[{"first":..,"head":..,"last":..,"stream":..}],..}}
    {"entry":{"body":{..},"hash":"<hex>","position":N,"proof":["<hex>",..],"sequence":N,"stream":..}}
    {"withheld":{"body_hash":"<hex>","hash":..,"position":N,"proof":[..],"sequence":N,"stream":..}}

Key lines sum up what the events shown say. `signed` is an envelope without its bodies: what its signature
covers. The entries that it brought follow it. They are all events of the meter; the registry whole, and the
chains of the operator and of every device that reads or signed for the meter, but of these with bodies only
what makes the keys and the meter's place: everything else is `withheld`, its hash in its place in the chain.
Each has its RFC 9162 inclusion proof, from the leaf's sibling up. What a reader can and cannot conclude from
it is told in `ledger.verify.extract`.

A file whose name ends in `.gz` is read and written through gzip.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ledger.block import block_hash
from ledger.canonical import UNREADABLE, Malformed, NotCanonical, encode
from ledger.envelope import Envelope, Signature, Stream
from ledger.errors import BadInput
from ledger.event import HashHex, Instant, KeyId, Name, Natural, Positive, PublicHex, Role
from ledger.events import BlockSealed

FORMAT: Literal["energy-ledger-book/1"] = "energy-ledger-book/1"
LINE_BYTES_MAX = 3 << 19
"""No line of a book is longer: an envelope has 500 events at most, and no event that comes in such numbers
takes 2,000 bytes. So no file can fill the memory with one line."""

_GZIP_LEVEL = 6
_BUFFER_BYTES = 1 << 20


class NoBookFile(BadInput):
    """There is no such file, or it cannot be opened or written."""

    code = "no-book-file"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a line."""


class Header(_Part, frozen=True):
    """Whose book it is, the log's verifier key as the book names it, and how many events the log has.

    An extract names its meter, and how many `events` it holds itself.
    """

    community: Name
    format: Literal["energy-ledger-book/1"]
    log_key: Annotated[str, msgspec.Meta(max_length=300)]  # as in community-opened/1
    scope: Literal["community", "meter"]
    size: Positive
    events: Positive | None = None
    meter: Name | None = None


class Key(_Part, frozen=True):
    """A key as the book's events tell of it; `enrolled` and `ended` are positions of events."""

    device: Name
    enrolled: Natural
    id: KeyId
    public_key: PublicHex
    role: Role
    ended: Natural | None = None


class Block(_Part, frozen=True):
    """A block: encoded, it is the very bytes whose SHA-256 is the block's hash."""

    community: Name
    number: Positive
    previous: HashHex
    root: HashHex
    sealed_at: Instant
    size: Positive


class SignedRun(_Part, frozen=True):
    """What the signature says of one run."""

    first: Positive
    head: HashHex
    last: Positive
    stream: Stream


class Signed(_Part, frozen=True):
    """An envelope without its bodies."""

    community: Name
    device: Name
    key: KeyId
    runs: Annotated[list[SignedRun], msgspec.Meta(min_length=1)]
    signature: Signature


Proof = Annotated[list[HashHex], msgspec.Meta(max_length=63)]


class Entry(_Part, frozen=True):
    """An event with its body and its place in the log."""

    body: msgspec.Raw
    hash: HashHex
    position: Natural
    proof: Proof
    sequence: Positive
    stream: Stream


class Withheld(_Part, frozen=True):
    """An event whose body is nobody's business here."""

    body_hash: HashHex
    hash: HashHex
    position: Natural
    proof: Proof
    sequence: Positive
    stream: Stream


class HeaderLine(_Part, frozen=True):
    """The first line."""

    book: Header


class KeyLine(_Part, frozen=True):
    """One key."""

    key: Key


class BlockLine(_Part, frozen=True):
    """One block, where the log has its size."""

    block: Block
    hash: HashHex
    position: Natural


class EnvelopeLine(_Part, frozen=True):
    """One envelope, and the entry hashes of the events that it brought."""

    envelope: Envelope
    hashes: str
    position: Natural

    @property
    def events(self) -> int:
        """How many events the envelope has, new or not."""
        return sum(len(run.bodies) for run in self.envelope.runs)


class SignedLine(_Part, frozen=True):
    """One envelope without its bodies."""

    signed: Signed


class EntryLine(_Part, frozen=True):
    """One event."""

    entry: Entry


class WithheldLine(_Part, frozen=True):
    """One event without its body."""

    withheld: Withheld


class CheckpointLine(_Part, frozen=True):
    """The last line."""

    checkpoint: str


Line = (
    HeaderLine | KeyLine | BlockLine | EnvelopeLine | SignedLine | EntryLine | WithheldLine | CheckpointLine
)

_KINDS: dict[bytes, type[Line]] = {
    b"book": HeaderLine,
    b"key": KeyLine,
    b"block": BlockLine,
    b"envelope": EnvelopeLine,
    b"signed": SignedLine,
    b"entry": EntryLine,
    b"withheld": WithheldLine,
    b"checkpoint": CheckpointLine,
}
_DECODERS: dict[bytes, Callable[[bytes], Line]] = {
    kind: msgspec.json.Decoder(line).decode for kind, line in _KINDS.items()
}


def block_line(community: str, position: int, event: BlockSealed) -> BlockLine:
    """The line of the block that the event at `position` sealed."""
    block = Block(
        community=community,
        number=event.number,
        previous=event.previous,
        root=event.root,
        sealed_at=event.sealed_at,
        size=event.size,
    )
    return BlockLine(block=block, hash=block_hash(community, event), position=position)


def kind_of(data: bytes) -> bytes:
    """The first key of a line: what it is; empty for what is no line of a book."""
    kind = data[2 : data.find(b'"', 2, 16)] if data.startswith(b'{"') else b""
    return kind if kind in _KINDS else b""


def parse_line(data: bytes) -> Line:
    """The line in `data`, given without its newline, canonical or not. Raises `Malformed`.

    Bodies are only cut apart here.
    """
    decode = _DECODERS.get(kind_of(data))
    if decode is None:
        raise Malformed("this is no line of a book")
    try:
        return decode(data)
    except UNREADABLE as error:
        raise Malformed(f"this line cannot be read: {error}") from error


def check_canonical(line: Line, data: bytes) -> None:
    """Return if `data` is how `line` is written. Raises `NotCanonical`."""
    if encode(line) != data:
        raise NotCanonical("this line is not canonical JSON")


def is_compressed(path: Path) -> bool:
    """Whether a file of this name is read and written through gzip."""
    return path.suffix == ".gz"


def open_book(path: Path) -> BufferedReader:
    """The bytes of the file's lines, from the beginning. Raises `NoBookFile`."""
    try:
        if path.is_dir():
            raise NoBookFile("this is a folder", where=str(path), hint="name the file in it")
        if path.exists() and not path.is_file():
            hint = "parts of a book are read twice: save it to a file and name that"
            raise NoBookFile("this is no regular file", where=str(path), hint=hint)
        if is_compressed(path):
            return BufferedReader(gzip.GzipFile(path, "rb"), _BUFFER_BYTES)
        return path.open("rb")
    except OSError as error:
        raise NoBookFile(f"cannot be opened: {error.strerror}", where=str(path)) from error


Wrote = Callable[[int], None]
"""Told of the bytes of each line before it is written; what it raises ends the writing."""


def unbounded(size: int) -> None:
    """Let it be as large as it will."""


@contextmanager
def new_book(
    path: Path, *, durable: bool = True, wrote: Wrote = unbounded
) -> Iterator[Callable[[Any], None]]:
    """A function that writes lines, whose file appears under `path` when the block ends well and not before.

    What was there under that name is replaced. A `durable` file outlives a power cut from then on; waiting
    for the disk holds up the whole thread. Raises `NoBookFile`, and what `wrote` does.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb", buffering=_BUFFER_BYTES) as file:
            # Neither name nor instant goes into the gzip header: the same book gives the same bytes.
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) if is_compressed(path) else None
            write = (packed or file).write

            def write_line(line: Any) -> None:
                data = encode(line) + b"\n"
                wrote(len(data))
                write(data)

            yield write_line
            if packed is not None:
                packed.close()
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise NoBookFile(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name last; where folders cannot be opened (Windows) the system sees to it itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
