"""Addresses and secrets of webhooks as the store has them: sealed, since signing needs the secret itself.

AES-256-GCM (NIST SP 800-38D) with a random nonce in front, bound to community and webhook. Its key follows
from the ledger's service key, which every process that serves the API has and the store has not: it is the
SHA-256 of the service's signature over a text of its own. Ed25519 signatures are deterministic (RFC 8032),
and that one is shown to nobody.
"""

import os
from datetime import datetime
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import Damaged
from ledger.keys import SigningKey

PURPOSE = b"energy-ledger/webhook-seal/v1\n"
NONCE_BYTES = 12


class SealBroken(Damaged):
    """A webhook's address and secret were sealed by another service key, or were changed in the store."""

    code = "seal-broken"


class Sealed(msgspec.Struct, frozen=True):
    """Where a webhook is told, and by which secrets that is signed. `before` counts until `before_until`."""

    url: str
    secret: str
    before: str = ""
    before_until: datetime | None = None

    def held(self, now: datetime) -> list[str]:
        """The secrets that count, the newest first."""
        is_overlap = self.before_until is not None and now < self.before_until
        return [self.secret, self.before] if is_overlap else [self.secret]


class Seal:
    """Seals for one community."""

    def __init__(self, community: str, service: SigningKey) -> None:
        self._community = community
        self._cipher = AESGCM(sha256(service.sign(PURPOSE + community.encode())).digest())

    def close(self, webhook: str, what: Sealed) -> bytes:
        """What the store may have."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(what), self._place(webhook))

    def open(self, webhook: str, sealed: bytes) -> Sealed:
        """What was sealed. Raises `SealBroken`."""
        try:
            text = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._place(webhook))
        except (InvalidTag, ValueError):
            raise SealBroken(
                "what is sealed for this webhook does not open",
                where=webhook,
                hint="was the service key replaced? then delete the webhook and make it anew",
            ) from None
        return msgspec.json.decode(text, type=Sealed)

    def _place(self, webhook: str) -> bytes:
        return f"{self._community}\n{webhook}".encode()
