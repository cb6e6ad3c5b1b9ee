"""What all events have in common: the types of their fields, and their base.

A body is the canonical JSON of an event. A type, once published, keeps its fields for ever: what has to
change gets the next version beside it. Bodies about a person's building carry a `salt`, so that a hash tells
nothing about what is behind it and a body can be erased by law without breaking the chain.
"""

import secrets
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from ledger.canonical import INTEGER_MAX

Natural = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
Integer = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
# `$` also matches before a newline at the end of a text: the length or the look-ahead shuts that door.
Name = Annotated[str, msgspec.Meta(pattern=r"^(?!\.{1,2}$)[a-z0-9._-]{1,64}$(?!\n)")]
Text = Annotated[str, msgspec.Meta(max_length=200)]
PublicHex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$", max_length=16)]
HashHex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Salt = Annotated[str, msgspec.Meta(min_length=16, max_length=16)]
Base64 = Annotated[str, msgspec.Meta(max_length=88)]

Role = Literal["service", "operator", "gateway", "meter", "building"]
Quality = Literal["measured", "estimated", "suspect"]


def new_salt() -> str:
    """12 random bytes in base64url."""
    return urlsafe_b64encode(secrets.token_bytes(12)).decode()


class Event(
    msgspec.Struct,
    frozen=True,
    tag_field="type",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A fact, in the past tense."""
