"""The log's part of the settings file: who witnesses its checkpoints.

[log]
quorum = 1

[[log.witnesses]]
vkey = "witness.example.org/w1+8f2a61b0+BA.."
url = "https://witness.example.org"
"""

from typing import Annotated

import msgspec

from ledger.cosignature import witness_key
from ledger.errors import BadInput
from ledger.event import Natural
from ledger.note import Verifier
from ledger.outgoing.target import target_of


class WitnessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A witness: its verifier key (C2SP tlog-cosignature, Ed25519), which has its name in it, and its
    submission prefix, behind which `/add-checkpoint` is."""

    vkey: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=1_900)]

    @property
    def key(self) -> Verifier:
        """The key. Raises `NoteError`."""
        return witness_key(self.vkey)


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who witnesses the log. The checkpoint that others are given is the newest one that so many witnesses as
    `quorum` have cosigned; with 0 it is the newest of all, cosigned yet or not."""

    witnesses: tuple[WitnessSettings, ...] = ()
    quorum: Natural = 0

    @property
    def keys(self) -> list[str]:
        """The verifier keys of those who count."""
        return [each.vkey for each in self.witnesses]


NOBODY = LogSettings()
"""No witness is asked, and none is waited for."""


def misfit_of(settings: LogSettings) -> tuple[str, str] | None:
    """What of the settings does not fit, and in which key of them."""
    known: dict[bytes, int] = {}
    for number, witness in enumerate(settings.witnesses):
        place = f"log.witnesses[{number}]"
        try:
            key = witness.key.key.bytes
        except BadInput as error:
            return error.what, f"{place}.vkey"
        if key in known:
            return f"this is the key of log.witnesses[{known[key]}] as well", f"{place}.vkey"
        known[key] = number
        try:
            target_of(witness.url)
        except BadInput as error:
            return error.what, f"{place}.url"
        if "?" in witness.url or witness.url.endswith("/"):
            return "a prefix has no query and ends without a slash", f"{place}.url"
    if settings.quorum > len(settings.witnesses):
        return f"there are {len(settings.witnesses)} witnesses: more cannot cosign", "log.quorum"
    return None
