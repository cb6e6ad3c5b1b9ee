"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), and proof files (tlog-proof).

A checkpoint is three lines and no more: the log's origin, the tree size in decimal, the root in base64. Its
signature lines name the key by `name` and a 4-byte id, SHA-256(name || "\\n" || 0x01 || public key)[:4].
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import BadInput
from ledger.keys import PublicKey, SigningKey, b64, unb64

ED25519 = b"\x01"
COSIGNATURE_V1 = b"\x04"
_NOT_SUCH_A_KEY = {
    ED25519: "this is not an Ed25519 verifier key",
    COSIGNATURE_V1: "this is not a witness's Ed25519 verifier key (cosignature/v1)",
}
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_NOTE_MAX_BYTES = 1_000_000
_SIGNATURES_MAX = 100
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
"""A size or index as it is written: ASCII, no leading zeros, and never more than a log could hold."""


class NoteError(BadInput):
    """A signed note, checkpoint or proof file is malformed or not signed by the expected key."""

    code = "note-invalid"


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name) and name.isprintable()


class Verifier(NamedTuple):
    """A public key under its holder's name, as auditors pass it around: `name+id+base64`.

    A log's signs notes; `ledger.cosignature` has that of witnesses, of another `algorithm`.
    """

    name: str
    key: PublicKey
    algorithm: bytes = ED25519

    @property
    def id(self) -> bytes:
        """The 4-byte key id."""
        return sha256(self.name.encode() + b"\n" + self.algorithm + self.key.bytes).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64(self.algorithm + self.key.bytes)}"

    @classmethod
    def parse(cls, text: str, algorithm: bytes = ED25519) -> "Verifier":
        """The verifier key written as `text`, of this algorithm and no other. Raises `NoteError`."""
        try:
            name, identity, encoded = text.split("+", 2)
            data = unb64(encoded)
        except ValueError as error:
            raise NoteError("a verifier key is written name+id+base64", where=text) from error
        if data[:1] != algorithm or not _is_key_name(name):
            raise NoteError(_NOT_SUCH_A_KEY[algorithm], where=text)
        try:
            verifier = cls(name, PublicKey(data[1:]), algorithm)
        except ValueError as error:
            raise NoteError(f"this is not an Ed25519 verifier key: {error}", where=text) from error
        if verifier.id.hex() != identity:
            raise NoteError("the key id does not belong to this name and key", where=text)
        return verifier


class Signature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {b64(self.key_id + self.signature)}\n"


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """The signed note over `text`, which ends in a newline, with one signature line."""
    identity = Verifier(name, key.public).id
    return f"{text}\n{Signature(name, identity, key.sign(text.encode()))}"


def split_note(note: str) -> tuple[str, list[Signature]]:
    """The signed text of a note (up to and including the newline before the empty line) and its signatures.

    Raises `NoteError` for what C2SP signed-note calls malformed.
    """
    text, empty_line, rest = note.rpartition("\n\n")
    if not empty_line or not rest.endswith("\n") or len(note) > _NOTE_MAX_BYTES:
        raise NoteError("a signed note is text, an empty line and signature lines")
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise NoteError("a signed note holds no control characters but newlines")
    lines = rest[:-1].split("\n")
    if len(lines) > _SIGNATURES_MAX:
        raise NoteError(f"more than {_SIGNATURES_MAX} signature lines")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded] if _is_key_name(name):
            try:
                data = unb64(encoded)
            except ValueError as error:
                raise NoteError("a signature is not base64", where=line) from error
            if len(data) < 5:
                raise NoteError("a signature is too short", where=line)
            return Signature(name, data[:4], data[4:])
    raise NoteError("this is not a signature line", where=line)


def open_note(note: str, verifier: Verifier) -> str:
    """The text of `note` if `verifier` signed it. Signatures of unknown keys are passed over.

    Raises `NoteError` when there is no signature by this key or it is wrong.
    """
    text, signatures = split_note(note)
    mine = [s for s in signatures if (s.name, s.key_id) == (verifier.name, verifier.id)]
    if not mine:
        raise NoteError("the note bears no signature by the expected key", where=str(verifier))
    for signature in mine:
        if not verifier.key.verifies(signature.signature, text.encode()):
            raise NoteError("the signature does not fit the note's text", where=verifier.name)
    return text


class Checkpoint(NamedTuple):
    """What a log says of itself: how many leaves it has and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"

    def sign(self, key: SigningKey) -> str:
        """The checkpoint as a signed note under the log's origin."""
        return sign_note(self.text(), self.origin, key)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint whose signed text is `text`. Raises `NoteError`; extension lines are refused."""
        match text.split("\n"):
            case [origin, size, encoded, ""] if _is_key_name(origin) and _DECIMAL.fullmatch(size):
                try:
                    root = unb64(encoded)
                except ValueError as error:
                    raise NoteError("the root is not base64", where=encoded) from error
                if len(root) == 32:
                    return cls(origin, int(size), root)
        raise NoteError("a checkpoint is three lines: origin, size, root")


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in `note` if `verifier` signed it for its own origin. Raises `NoteError`."""
    checkpoint = Checkpoint.parse(open_note(note, verifier))
    if checkpoint.origin != verifier.name:
        raise NoteError(f"the checkpoint is of another log: {checkpoint.origin}", where=verifier.name)
    return checkpoint


class InclusionProof(NamedTuple):
    """A `.tlog-proof` file: where a leaf stands, its audit path and the checkpoint it leads to."""

    leaf_index: int
    path: Sequence[bytes]
    checkpoint: str
    extra: bytes | None = None

    def __str__(self) -> str:
        extra = f"extra {b64(self.extra)}\n" if self.extra is not None else ""
        hashes = "".join(f"{b64(node)}\n" for node in self.path)
        return f"{PROOF_HEADER}\n{extra}index {self.leaf_index}\n{hashes}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> "InclusionProof":
        """The proof written in `text`. Raises `NoteError`."""
        head, _, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        extra = None
        try:
            if lines.pop(0) != PROOF_HEADER:
                raise ValueError(f"the first line is not {PROOF_HEADER}")
            if lines[0].startswith("extra "):
                extra = unb64(lines.pop(0).removeprefix("extra "))
            word, _, index = lines.pop(0).partition(" ")
            if word != "index" or not _DECIMAL.fullmatch(index):
                raise ValueError("the index line is missing or malformed")
            path = [unb64(line) for line in lines]
        except (ValueError, IndexError) as error:
            raise NoteError(f"this is not a proof file: {error}") from error
        if len(path) > 63 or any(len(node) != 32 for node in path):
            raise NoteError("a proof holds at most 63 hashes of 32 bytes")
        return cls(int(index), path, checkpoint, extra)
