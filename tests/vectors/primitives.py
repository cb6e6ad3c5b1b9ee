"""The few primitives that the vectors are made of, without any of the ledger's code."""

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

COMMUNITY = "campus"


def canonical(value: Any) -> bytes:
    """Canonical JSON of integers, strings, lists and objects with ASCII keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def split(size: int) -> int:
    """The largest power of two smaller than `size` (RFC 9162 section 2.1.1)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root_of(hashes: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes, of which there is at least one."""
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    return sha256(b"\x01" + root_of(hashes[:middle]) + root_of(hashes[middle:])).digest()


class Key(NamedTuple):
    """A key from a fixed seed."""

    name: str
    seed: bytes

    @property
    def public(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        return sha256(self.public).digest()[:8].hex()

    def sign(self, message: bytes) -> str:
        return base64.b64encode(Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)).decode()

    def described(self) -> dict[str, str]:
        return {
            "name": self.name,
            "private_seed_hex": self.seed.hex(),
            "public_hex": self.public.hex(),
            "key": self.id,
        }


SERVICE, OPERATOR, LOG, GATEWAY, NEXT, OTHER = (
    Key(name, bytes([number]) * 32)
    for name, number in (
        ("service", 0x11),
        ("operator", 0x12),
        ("log", 0x13),
        ("gateway", 0x14),
        ("gateway-next", 0x15),
        ("stranger", 0x16),
    )
)
