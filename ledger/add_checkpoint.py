"""How a log asks a witness for a cosignature (C2SP tlog-witness, `add-checkpoint`), and what is answered.

    POST <submission prefix>/add-checkpoint

    old <size>                  of the newest checkpoint that the witness has cosigned
    <hash in base64>            the consistency proof from that size on, a line a hash, none from 0 on
                                an empty line
    <the signed checkpoint>

    200     signature lines, to be put under the checkpoint
    409     another size than `old`, as text/x.tlog.size: from there it goes on
    others  `REFUSALS`

Pure; `ledger.witnessing` sends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple

from ledger.cosignature import Cosignature, CosignatureInvalid, cosignature_of
from ledger.errors import LedgerError
from ledger.keys import b64
from ledger.note import Verifier, split_note

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
ANSWER_BYTES_MAX = 64 * 1024
SIZE_DIGITS_MAX = 19
SKEW = timedelta(minutes=10)
"""So far may a witness's clock be from ours."""


class WitnessFailed(LedgerError):
    """A witness answered what the protocol does not know, or is out of order."""

    code = "witness-failed"


class WitnessRefuses(WitnessFailed):
    """A witness does not take what the protocol says."""

    code = "witness-refuses"


class KeyUnknown(WitnessFailed):
    """A witness knows this log, and not the key that signs its checkpoints."""

    code = "witness-key-unknown"


class LogUnknown(WitnessFailed):
    """A witness was not told of this log."""

    code = "witness-log-unknown"


class Inconsistent(WitnessFailed):
    """A witness has seen another log under this name: a checkpoint that this one does not extend."""

    code = "witness-inconsistent"


class WitnessAhead(WitnessFailed):
    """A witness has seen more of this log than there is."""

    code = "witness-ahead"


REFUSALS: Mapping[int, tuple[type[WitnessFailed], str, str]] = {
    HTTPStatus.BAD_REQUEST: (WitnessRefuses, "it cannot read what it is sent", "is this a witness's prefix?"),
    HTTPStatus.FORBIDDEN: (
        KeyUnknown, "it does not know the log's key", "give its operator the verifier key of this log",
    ),
    HTTPStatus.NOT_FOUND: (
        LogUnknown, "it does not know this log", "give its operator the log's origin and verifier key",
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        Inconsistent, "it has seen a checkpoint that this log does not extend",
        "was the book restored from a copy, or does another one bear its name? compare the roots with it",
    ),
}  # fmt: skip


class Recorded(NamedTuple):
    """A checkpoint of the log, and when it was recorded."""

    size: int
    checkpoint: str
    recorded_at: datetime


class Offer(NamedTuple):
    """A checkpoint to be cosigned, when it was recorded, and the proof that it extends the log of `old`."""

    old: int
    size: int
    proof: Sequence[bytes]
    checkpoint: str
    recorded_at: datetime

    def body(self) -> bytes:
        """What is posted."""
        proof = "".join(f"{b64(node)}\n" for node in self.proof)
        return f"old {self.old}\n{proof}\n{self.checkpoint}".encode()


def taken(offer: Offer, body: bytes, witness: Verifier, now: datetime) -> Cosignature:
    """The cosignature that a witness answered with; those of other keys are passed over.

    Raises `NoteError` for what is none, `CosignatureInvalid` for one that was made by somebody else, over
    something else, before the checkpoint or in the future.
    """
    try:
        note = offer.checkpoint + body.decode()
    except UnicodeDecodeError:
        raise CosignatureInvalid("its answer is no text", where=witness.name) from None
    if split_note(note)[0] != split_note(offer.checkpoint)[0]:
        raise CosignatureInvalid("its answer is more than signature lines", where=witness.name)
    found = cosignature_of(note, witness)
    if found is None:
        raise CosignatureInvalid(
            "its answer bears no signature by the key in the settings", where=witness.name
        )
    first, last = offer.recorded_at - SKEW, now + SKEW
    if not first.timestamp() <= found.seconds <= last.timestamp():
        raise CosignatureInvalid("it was made before the checkpoint or is of the future", where=witness.name)
    return found


def size_told(headers: Mapping[str, str], body: bytes, witness: Verifier) -> int:
    """The size that a witness says it has cosigned, in a 409. Raises `WitnessFailed`."""
    digits = body.removesuffix(b"\n")
    if (
        headers.get("content-type", "").split(";")[0].strip().lower() != SIZE_TYPE
        or not digits.isdigit()
        or len(digits) > SIZE_DIGITS_MAX
        or (digits.startswith(b"0") and digits != b"0")
    ):
        raise WitnessFailed(
            "it disagrees, and does not tell from what size it would go on", where=witness.name
        )
    return int(digits)


def refusal(status: int, witness: Verifier) -> WitnessFailed:
    """What an answer that is neither 200 nor 409 comes to."""
    known = REFUSALS.get(status)
    if known is None:
        return WitnessFailed(f"it answers with the status {status}", where=witness.name)
    kind, what, hint = known
    return kind(what, where=witness.name, hint=hint)
