"""What the description tells of keys, chains, envelopes, receipts, checkpoints and proofs; each function as
the text of a tag says it. A check that does not hold raises `NotProven`.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NO_HASH = "0" * 64


class NotProven(Exception):
    """A signature or a proof does not hold."""


def canonical(value: Any) -> bytes:
    """RFC 8785, for what the ledger takes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(data: bytes) -> str:
    """SHA-256 in hex."""
    return sha256(data).hexdigest()


def lines(*told: object) -> bytes:
    """Lines, each ended by a newline."""
    return "".join(f"{line}\n" for line in told).encode()


def entry_hash(community: str, stream: str, sequence: int, previous: str, body: bytes) -> str:
    """The link of a stream's chain, and the leaf of the log."""
    entry = lines("energy-ledger/v1", community, stream, sequence, previous, hash_of(body))
    return hash_of(b"\0" + entry)


def verify(public: bytes, signature: str, text: bytes) -> None:
    """Raises `NotProven` if `signature`, in base64, is not the key's over `text`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(b64decode(signature, validate=True), text)
    except (InvalidSignature, ValueError) as error:
        raise NotProven("the signature does not hold") from error


def path_root(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 9162, section 2.1.3.2)."""
    if index >= size:
        raise NotProven("the leaf lies behind the tree")
    place, last, root = index, size - 1, leaf
    for node in path:
        if last == 0:
            raise NotProven("the path is too long")
        if place & 1 or place == last:
            root = sha256(b"\1" + node + root).digest()
            while not (place & 1 or place == 0):
                place, last = place >> 1, last >> 1
        else:
            root = sha256(b"\1" + root + node).digest()
        place, last = place >> 1, last >> 1
    if last != 0:
        raise NotProven("the path is too short")
    return root


# --- a device --------------------------------------------------------------------------------


@dataclass
class Device:
    """A meter that signs what it measures."""

    community: str
    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    service_key: bytes = b""
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, text: bytes) -> str:
        return b64encode(self.key.sign(text)).decode()

    def enrolment(self, role: str) -> dict[str, str]:
        """The event that tells the key, with the proof that the device holds it."""
        public = self.public.hex()
        text = lines("energy-ledger/possession/v1", self.community, self.name, public)
        return {
            "type": "key-enrolled/1", "device": self.name, "role": role, "public_key": public,
            "possession": self.sign(text),
        }  # fmt: skip

    def envelope(self, stream: str, events: list[dict[str, Any]]) -> bytes:
        """Events that go on with a stream."""
        first, previous = self.heads.get(stream, (0, NO_HASH))
        sequence, head = first, previous
        for event in events:
            sequence += 1
            head = entry_hash(self.community, stream, sequence, head, canonical(event))
        run = f"{stream} {first + 1} {sequence} {head}"
        text = lines("energy-ledger/envelope/v1", self.community, self.name, run)
        return canonical(
            {
                "community": self.community,
                "device": self.name,
                "key": hash_of(self.public)[:16],
                "runs": [{"stream": stream, "first": first + 1, "previous": previous, "bodies": events}],
                "signature": self.sign(text),
            }
        )

    def take(self, receipt: Any, envelope: bytes | None) -> str:
        """The code of a receipt that answers `envelope`; its heads are gone on from."""
        answer = read_receipt(receipt, self.community, self.service_key)
        digest = hash_of(envelope) if envelope is not None else NO_HASH
        if (answer["device"], answer["envelope"]) != (self.name, digest):
            raise NotProven("this receipt answers something else")
        self.heads |= {head["stream"]: (head["sequence"], head["hash"]) for head in answer["heads"]}
        return str(answer["code"])


def read_receipt(receipt: Any, community: str, service_key: bytes) -> Any:
    """The answer of a receipt, if the ledger signed it for this community."""
    leaf = sha256(b"\0" + canonical(receipt["answer"])).digest()
    path = [bytes.fromhex(node) for node in receipt["path"]]
    root = path_root(receipt["index"], receipt["size"], leaf, path)
    text = lines("energy-ledger/receipts/v1", community, receipt["size"], root.hex())
    verify(service_key, receipt["signature"], text)
    if receipt["answer"]["community"] != community:
        raise NotProven("this receipt is another community's")
    return receipt["answer"]


# --- the log ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogKey:
    """A log's verifier key, as the operator tells it: `NAME+ID+BASE64`."""

    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "LogKey":
        name, identity, encoded = text.split("+", 2)
        key = b64decode(encoded, validate=True)
        if key[:1] != b"\1" or sha256(f"{name}\n".encode() + key).hexdigest()[:8] != identity:
            raise NotProven("this is no verifier key")
        return cls(name, bytes.fromhex(identity), key[1:])

    def open(self, note: str) -> tuple[int, bytes]:
        """Size and root of a checkpoint that this log signed."""
        text, _, signatures = note.partition("\n\n")
        for line in signatures.splitlines():
            name, _, encoded = line.removeprefix("— ").partition(" ")
            signed = b64decode(encoded, validate=True)
            if name == self.name and signed[:4] == self.id:
                verify(self.public, b64encode(signed[4:]).decode(), f"{text}\n".encode())
                origin, size, root = text.split("\n")
                if origin != self.name:
                    raise NotProven("this is another log's checkpoint")
                return int(size), b64decode(root, validate=True)
        raise NotProven("the log has not signed this")

    def place(self, proof: str, leaf: str) -> int:
        """The place of a leaf that a proof shows to be in the log."""
        told, _, note = proof.partition("\n\n")
        header, *rest = [line for line in told.split("\n") if not line.startswith("extra ")]
        word, _, index = rest.pop(0).partition(" ")
        if (header, word) != ("c2sp.org/tlog-proof@v1", "index"):
            raise NotProven("this is no proof of inclusion")
        size, root = self.open(note)
        path = [b64decode(line, validate=True) for line in rest]
        if path_root(int(index), size, bytes.fromhex(leaf), path) != root:
            raise NotProven("the event is not in the log")
        return int(index)
