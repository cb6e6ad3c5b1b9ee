"""People who log in: who they are to the ledger, and the sessions that they work in.

A session is a token of 256 random bits in a cookie, of which the ledger keeps the SHA-256. It ends when
nothing was asked for `IDLE`, at the latest after `LONGEST`, and at once when its person ends, is given
another role or building, or logs out. Whoever holds the token can compute the session's CSRF token, and
nobody else: it is an HMAC under it, so nothing has to be kept for it.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from ledger.access import Role
from ledger.errors import BadInput

IDLE = timedelta(minutes=15)
LONGEST = timedelta(hours=12)
SEEN_AFTER = timedelta(minutes=1)
"""So often at the most it is written down that a session is in use."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
NAME_LENGTH_MAX = 100
_NAME = re.compile(rf"[a-z0-9][a-z0-9._+@-]{{1,{NAME_LENGTH_MAX - 1}}}")
_CSRF = b"energy-ledger/csrf/v1"


class NameUnfit(BadInput):
    """A name that nobody can log in by."""

    code = "person-unfit"


class Person(NamedTuple):
    """Somebody who may log in; `id` is what the access log keeps. When they end, the name is free again."""

    id: str
    community: str
    name: str
    role: Role
    building: str | None
    password: str
    """Its hash, as PHC string."""
    password_at: datetime
    created_at: datetime
    ended_at: datetime | None = None


class PersonSession(NamedTuple):
    """A session of somebody who has not ended, in the role and for the building of its beginning."""

    digest: bytes
    person: str
    community: str
    name: str
    role: Role
    building: str | None
    begun_at: datetime
    seen_at: datetime

    def counts(self, now: datetime) -> bool:
        """Whether it still opens anything at an instant."""
        return now < self.idle_until and now < self.ends_at

    @property
    def idle_until(self) -> datetime:
        """When it ends if nothing is asked until then."""
        return self.seen_at + IDLE

    @property
    def ends_at(self) -> datetime:
        """When it ends whatever is asked."""
        return self.begun_at + LONGEST


def new_person_id() -> str:
    """An id that nobody has, unlike the prefix of any key."""
    return f"p-{secrets.token_hex(6)}"


def new_session_token() -> str:
    """A token that nobody has."""
    return secrets.token_urlsafe(32)


def session_digest(token: str) -> bytes | None:
    """By what a token's session is found; none where it has not the form of one."""
    return sha256(token.encode()).digest() if TOKEN.fullmatch(token) else None


def csrf_token(token: str) -> str:
    """What shows that a request comes from a page that was told it, and not from somebody else's."""
    return urlsafe_b64encode(hmac.digest(token.encode(), _CSRF, "sha256")).decode().rstrip("=")


def is_csrf_token(shown: str, token: str) -> bool:
    """Whether that is it; takes as long for any that is not."""
    return hmac.compare_digest(shown.encode(), csrf_token(token).encode())


def person_name(text: str) -> str:
    """A login or an e-mail address, in small letters. Raises `NameUnfit`."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise NameUnfit(
            f"a name has 2 to {NAME_LENGTH_MAX} of the characters a-z 0-9 . _ + @ -, a letter or digit first",
            where=text[:NAME_LENGTH_MAX],
        )
    return name
