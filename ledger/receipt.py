"""Receipts: the ledger's signed answer to an envelope, given after the commit and never before.

A gateway keeps a reading until it holds one of these. One signature answers a whole batch: the receipts of a
batch are the leaves of a small RFC 9162 tree, and each carries its path to the root that is signed.

    leaf          canonical JSON of `Answer`
    signed text   energy-ledger/receipts/v1\\n<community>\\n<number of receipts>\\n<root, hex>\\n
"""

from typing import Annotated

import msgspec

from ledger.canonical import UNREADABLE, Malformed, NotCanonical, encode
from ledger.entry import Head
from ledger.event import HashHex, Instant, Name, Natural
from ledger.keys import PublicKey, SigningKey, b64, unb64
from ledger.merkle import ProofError, inclusion_proofs, leaf_hash, path_root

RECORDED = "recorded"
DUPLICATE = "duplicate"
HEADS = "heads"
"""The code of an answer that only tells heads; it answers no envelope (64 zeros)."""


class StreamHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ledger's head of a stream: where its chain goes on."""

    hash: HashHex
    sequence: Natural
    stream: str

    def head(self) -> Head:
        """The same as the pair that chains are made from."""
        return Head(self.sequence, bytes.fromhex(self.hash))

    @classmethod
    def of(cls, stream: str, head: Head) -> "StreamHead":
        """The head of `stream` as it is written in a receipt."""
        return cls(hash=head.hash.hex(), sequence=head.sequence, stream=stream)


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where in the envelope the first thing stands that was refused, and why in plain words."""

    what: str
    hint: str = ""
    sequence: int | None = None
    stream: str | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the ledger did with one envelope (named by its SHA-256), and its heads after that."""

    code: str  # recorded, duplicate or a quarantine code
    community: Name
    device: Name
    envelope: HashHex
    heads: list[StreamHead]
    recorded_at: Instant
    refusal: Refusal | None = None

    @property
    def is_safe(self) -> bool:
        """Whether every event of the envelope is in the book."""
        return self.code in (RECORDED, DUPLICATE)


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer, its place in the batch and the batch's signature."""

    answer: msgspec.Raw
    index: Natural
    path: Annotated[list[HashHex], msgspec.Meta(max_length=32)]
    signature: str
    size: Natural


_decode_receipt = msgspec.json.Decoder(Receipt).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


def _signed_text(community: str, size: int, root: bytes) -> bytes:
    return f"energy-ledger/receipts/v1\n{community}\n{size}\n{root.hex()}\n".encode()


def sign_receipts(community: str, answers: list[Answer], key: SigningKey) -> list[bytes]:
    """The receipts of one batch, in the order of `answers`, under one signature."""
    texts = [encode(answer) for answer in answers]
    root, paths = inclusion_proofs([leaf_hash(text) for text in texts])
    signature = b64(key.sign(_signed_text(community, len(texts), root)))
    return [
        encode(
            Receipt(
                answer=msgspec.Raw(text),
                index=index,
                path=[node.hex() for node in path],
                signature=signature,
                size=len(texts),
            )
        )
        for index, (text, path) in enumerate(zip(texts, paths, strict=True))
    ]


class _Addressed(msgspec.Struct, frozen=True):
    """What tells whether somebody waits for a receipt."""

    device: str
    envelope: str


class _Unread(msgspec.Struct, frozen=True):
    answer: _Addressed


_decode_unread = msgspec.json.Decoder(_Unread).decode


def addressed(data: bytes) -> tuple[str, str] | None:
    """Which device's envelope `data` says to answer, named by its SHA-256: cheaper than who signed it.

    None for what is no receipt.
    """
    try:
        found = _decode_unread(data).answer
    except UNREADABLE:
        return None
    return found.device, found.envelope


def read_receipt(data: bytes, community: str, service: PublicKey) -> Answer:
    """The answer in `data`, if the ledger whose key is `service` signed it for `community`.

    Raises `Malformed`, `NotCanonical` or `ProofError`: such a receipt answers nothing.
    """
    try:
        receipt = _decode_receipt(data)
        answer = _decode_answer(receipt.answer)
        signature = unb64(receipt.signature)
    except (*UNREADABLE, ValueError) as error:
        raise Malformed(f"this is not a receipt: {error}") from error
    leaf = bytes(receipt.answer)
    if encode(answer) != leaf:
        raise NotCanonical("the receipt is not canonical")
    path = [bytes.fromhex(node) for node in receipt.path]
    root = path_root(receipt.index, receipt.size, leaf_hash(leaf), path)
    if answer.community != community or not service.verifies(
        signature, _signed_text(community, receipt.size, root)
    ):
        raise ProofError("the receipt is not signed by this ledger", where=service.id)
    return answer
