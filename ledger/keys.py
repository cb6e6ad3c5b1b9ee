"""Ed25519 keys: how they are named, kept in files and used.

Signatures are RFC 8032 Ed25519, so OpenSSL can make and check every one of them. A key is named by the
first 8 bytes of SHA-256(public key) in hex.
"""

import base64
import binascii
import os
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.errors import BadInput


class KeyFile(BadInput):
    """A key file is missing or unreadable, readable by others, or holds no Ed25519 key."""

    code = "key-file"


def key_id(public: bytes) -> str:
    """The name of a 32-byte public key: 16 lowercase hex digits."""
    return sha256(public).digest()[:8].hex()


def b64(data: bytes) -> str:
    """Standard base64 with padding, as signatures and hashes are written in the book."""
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    """The bytes of standard base64; `ValueError` for anything else, also for loose padding bits."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if b64(data) != text:
        raise ValueError("not base64 in its canonical form (RFC 4648 section 3.5)")
    return data


_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""The points of order 1, 2, 4 and 8 without their sign bit, as libsodium lists them: with one of these as its
key, a signature that fits every message can be written down by anybody."""


class PublicKey:
    """A public key that checks signatures. Raises `ValueError` for bytes that cannot be anyone's own key."""

    def __init__(self, public: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public)
        if public[:31] + bytes([public[31] & 0x7F]) in _SMALL_ORDER:
            raise ValueError("this public key would accept a signature by anybody")
        self.bytes = public
        self.id = key_id(public)

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """The key written as 64 lowercase hex digits; `ValueError` for anything else."""
        public = bytes.fromhex(text)
        if len(public) != 32 or public.hex() != text:
            raise ValueError("a public key is written as 64 lowercase hex digits")
        return cls(public)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes) over `message` was made with this key's private half."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key. Its `repr` tells the public half only."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey({self.public.id})"

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the system's random source."""
        return cls(os.urandom(32))

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """The key in a PEM file (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it)."""
        try:
            if path.stat().st_mode & 0o077:
                raise KeyFile(
                    "others may read this private key",
                    where=str(path),
                    hint=f"chmod 600 {path}; rotate the key if others had access",
                )
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError as error:
            raise KeyFile("there is no key file", where=str(path)) from error
        except OSError as error:
            raise KeyFile(f"the key file cannot be read: {error.strerror}", where=str(path)) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # The parser's own words are left out: they may quote the file.
            raise KeyFile("this is not an Ed25519 private key in PEM", where=str(path)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFile("this key is not of the kind Ed25519", where=str(path))
        return cls(key.private_bytes_raw())

    @classmethod
    def load_or_create(cls, path: Path) -> "SigningKey":
        """The key in `path`; a new one is written there first if there is none."""
        if not path.exists():
            cls.generate().save(path)
        return cls.load(path)

    def save(self, path: Path) -> None:
        """Write the key as PEM, readable by its owner alone; an existing file is never replaced."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise KeyFile(f"the key cannot be written: {error.strerror}", where=str(path)) from error

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        return self._key.sign(message)
