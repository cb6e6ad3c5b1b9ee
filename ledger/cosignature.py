"""Cosignatures of witnesses (C2SP tlog-cosignature): version 1, by Ed25519.

A witness says with it that, as of an instant, this is the largest tree of this log that it has seen, and that
it extends every other that it has. So who trusts a few witnesses cannot be shown another book than the rest
of the world. What is signed is

    cosignature/v1
    time <seconds since 1970>
    <the checkpoint's own text: origin, size, root>

and it stands in a signature line of the checkpoint's note as

    — <name> base64(key id || seconds, 8 bytes || signature, 64 bytes)
    key id = SHA-256(name || "\\n" || 0x04 || public key)[:4]
"""

from typing import NamedTuple

from ledger.note import COSIGNATURE_V1, NoteError, Signature, Verifier, split_note

SECONDS_MAX = 2**63 - 1
_SECONDS_BYTES = 8
_SIGNATURE_BYTES = 64


class CosignatureInvalid(NoteError):
    """A cosignature under a witness's name was not made with its key over this checkpoint."""

    code = "cosignature-invalid"


class Cosignature(NamedTuple):
    """A cosignature that holds: the line of the note, with its newline, and when it was made."""

    line: str
    seconds: int


def witness_key(text: str) -> Verifier:
    """The witness's verifier key written as `text`. Raises `NoteError`."""
    return Verifier.parse(text, COSIGNATURE_V1)


def cosigned_text(text: str, seconds: int) -> bytes:
    """What a witness signs of a checkpoint's text at an instant."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def cosignature_of(note: str, witness: Verifier) -> Cosignature | None:
    """The newest cosignature that `witness` has put under a note; none where there is none.

    Lines of other keys are passed over. Raises `NoteError`, and `CosignatureInvalid` for a line that names
    this key and was not made by it.
    """
    text, signatures = split_note(note)
    mine = [each for each in signatures if (each.name, each.key_id) == (witness.name, witness.id)]
    made = [_opened(text, each, witness) for each in mine]
    return max(made, key=lambda each: each.seconds, default=None)


def _opened(text: str, signature: Signature, witness: Verifier) -> Cosignature:
    seconds = int.from_bytes(signature.signature[:_SECONDS_BYTES])
    if len(signature.signature) != _SECONDS_BYTES + _SIGNATURE_BYTES or seconds > SECONDS_MAX:
        raise CosignatureInvalid("this is no timestamped signature", where=witness.name)
    if not witness.key.verifies(signature.signature[_SECONDS_BYTES:], cosigned_text(text, seconds)):
        raise CosignatureInvalid("the cosignature does not fit the checkpoint", where=witness.name)
    return Cosignature(str(signature), seconds)
