"""What the store keeps and may not read: sealed, since it has to be shown or used again as it was.

AES-256-GCM (NIST SP 800-38D) with a random nonce in front, bound to the place where it is kept. Its key
follows from the ledger's service key, which every process that serves the API has and the store has not: it
is the SHA-256 of the service's signature over a text of its own. Ed25519 signatures are deterministic (RFC
8032), and that one is shown to nobody.
"""

import hmac
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import Damaged
from ledger.keys import SigningKey

NONCE_BYTES = 12


class SealBroken(Damaged):
    """This was sealed by another service key or for another place, or was changed in the store."""

    code = "seal-broken"


class Seal:
    """Seals for one purpose in one community."""

    def __init__(self, purpose: str, community: str, service: SigningKey) -> None:
        self._key = sha256(service.sign(f"energy-ledger/{purpose}/v1\n{community}".encode())).digest()
        self._cipher = AESGCM(self._key)
        self._community = community

    def close(self, place: str, what: bytes) -> bytes:
        """What the store may have."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, what, self._bound(place))

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed. Raises `SealBroken`."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound(place))
        except (InvalidTag, ValueError):
            raise SealBroken("what is sealed here does not open", where=place) from None

    def tag(self, what: bytes) -> bytes:
        """By what it is known again, and cannot be found by trying, also where it holds a short secret
        (HMAC-SHA256, RFC 2104)."""
        return hmac.digest(self._key, b"tag\n" + what, sha256)

    def _bound(self, place: str) -> bytes:
        return f"{self._community}\n{place}".encode()
