"""Keys of the API: `prefix.secret`, of which the ledger keeps the prefix and the secret's SHA-256.

The secret is 256 random bits, so its digest can be neither guessed nor turned round; a slow hash, as
passwords need it, would only make every request slow. The prefix finds the key and may be told.
"""

import hmac
import re
import secrets
from datetime import datetime
from hashlib import sha256
from typing import Literal, NamedTuple

Role = Literal["building", "auditor", "billing", "operator"]
ROLES: tuple[Role, ...] = ("building", "auditor", "billing", "operator")

PREFIX_BYTES = 6
SECRET_BYTES = 32
TOKEN_LENGTH_MAX = 100
_TOKEN = re.compile(r"([0-9a-fA-F]{12})\.[A-Za-z0-9_-]{20,}")


class AccessKey(NamedTuple):
    """A key as the store has it: whose it is, and until when it counts."""

    prefix: str
    digest: bytes
    community: str
    role: Role
    building: str | None
    label: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def counts(self, now: datetime) -> bool:
        """Whether it opens anything at an instant."""
        return now < self.expires_at and (self.revoked_at is None or now < self.revoked_at)

    def opens(self, secret: str) -> bool:
        """Whether that is its secret; takes as long for any that is not."""
        return hmac.compare_digest(sha256(secret.encode()).digest(), self.digest)


class NewKey(NamedTuple):
    """A key just made; `token` is shown once and kept nowhere."""

    token: str
    prefix: str
    digest: bytes


def new_key() -> NewKey:
    """A key that nobody has."""
    prefix, secret = secrets.token_hex(PREFIX_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    return NewKey(f"{prefix}.{secret}", prefix, sha256(secret.encode()).digest())


def without_secrets(text: str) -> str:
    """A text to be kept or shown, without the secret of a token that somebody put into it by mistake."""
    return _TOKEN.sub(r"\1.***", text) if "." in text else text


def parts(token: str) -> tuple[str, str] | None:
    """Prefix and secret of a token; none where it has not the form of one."""
    prefix, dot, secret = token.partition(".")
    if not (dot and prefix and secret and token.isascii()) or len(token) > TOKEN_LENGTH_MAX:
        return None
    return prefix, secret
