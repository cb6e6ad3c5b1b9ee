"""Enrolment without an operator at hand: a one-time token, given out before, stands for the approval.

It is made for one device and one role. The device brings it with the request that `energy-ledger device
request` prints, which proves that it holds its key; the ledger enrols it in the operator's name.
"""

import hmac
from datetime import datetime
from hashlib import sha256
from typing import Literal, NamedTuple

from ledger.errors import BadInput, Contradiction
from ledger.events import KeyEnrolled
from ledger.keys import PublicKey, unb64
from ledger.registry import possession_text

DeviceRole = Literal["gateway", "meter", "building"]
"""What can be enrolled by a token. Another operator cannot."""


class TokenInvalid(BadInput):
    """A token opens nothing: it was never given out, has expired or was withdrawn."""

    code = "token-invalid"


class TokenUsed(Contradiction):
    """A token has enrolled another key already."""

    code = "token-used"


class EnrolmentInvalid(BadInput):
    """An enrolment request is not for what the token was made, or does not prove that its key is held."""

    code = "enrolment-invalid"


class EnrolmentToken(NamedTuple):
    """A token as the store has it. `public_key` is what it enrolled, once it was used."""

    prefix: str
    digest: bytes
    community: str
    device: str
    role: DeviceRole
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    public_key: str | None = None

    def opens(self, secret: str) -> bool:
        """Whether that is its secret; takes as long for any that is not."""
        return hmac.compare_digest(sha256(secret.encode()).digest(), self.digest)

    def is_used_for(self, request: KeyEnrolled) -> bool:
        """Whether it enrolled that very key before: the request is answered again and changes nothing."""
        return self.public_key == request.public_key


def check_enrolment(
    token: EnrolmentToken | None, secret: str, community: str, request: KeyEnrolled, now: datetime
) -> EnrolmentToken:
    """The token, if it approves of the request. Raises `TokenInvalid`, `TokenUsed`, `EnrolmentInvalid`."""
    hint = "ask the operator for a new one"
    if token is None or not token.opens(secret) or token.community != community:
        raise TokenInvalid("this token enrols nothing", hint=hint)
    if (request.device, request.role) != (token.device, token.role):
        raise EnrolmentInvalid(
            f"the token is for the {token.role} {token.device}",
            where=f"{request.role} {request.device}",
            hint="make the request for that device and role",
        )
    if not _is_possessed(community, request):
        raise EnrolmentInvalid(
            "the proof of possession does not fit the key",
            where=request.device,
            hint=f"the request must be made for community {community} and device {request.device}",
        )
    if token.used_at is not None and not token.is_used_for(request):
        raise TokenUsed("this token has enrolled another key", where=token.device, hint=hint)
    if token.used_at is None and now >= token.expires_at:
        raise TokenInvalid("this token has expired or was withdrawn", where=token.device, hint=hint)
    return token


def _is_possessed(community: str, request: KeyEnrolled) -> bool:
    try:
        key, signature = PublicKey.from_hex(request.public_key), unb64(request.possession)
    except ValueError:
        return False
    return key.verifies(signature, possession_text(community, request.device, request.public_key))
