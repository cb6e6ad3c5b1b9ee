"""An Ed25519 key as a user of NATS: its name there (an NKEY), and the proof of holding it.

The server proves its clients by having them sign a nonce that it chooses. A device's key signs envelopes too,
so whoever plays the server could put an envelope's text in the nonce's place and have readings signed that
nobody measured. Every text that the ledger signs has several lines; what is signed here has one, of the
letters and the length that nats-server's nonces have, and the two can never be the same.
"""

import base64
import re

import nats.errors
import nkeys  # type: ignore[import-untyped]  # the library has no types

from ledger.keys import PublicKey, SigningKey

NONCE = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""nats-server: 11 random bytes in unpadded base64url, which are 15 letters. Longer ones may come to be."""

_CRC_BYTES = 2


class StrangeNonce(nats.errors.Error):  # the library's kind, so that its client goes on
    """What a server wants to have signed is no nonce."""


def user_nkey(key: PublicKey) -> str:
    """The key as NATS names a user: base32 of the kind, the 32 bytes and a CRC-16. It begins with U."""
    told = bytes([nkeys.PREFIX_BYTE_USER]) + key.bytes
    return base64.b32encode(told + nkeys.crc16(told).to_bytes(_CRC_BYTES, "little")).decode().rstrip("=")


def sign_nonce(key: SigningKey, nonce: object) -> bytes:
    """The signature that NATS asks for, in base64. Raises `StrangeNonce` for what could mean something."""
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        raise StrangeNonce("the server wants something signed that is no nonce")
    return base64.b64encode(key.sign(nonce.encode()))
