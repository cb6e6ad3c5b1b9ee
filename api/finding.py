"""What a check of the doctor's saw."""

from typing import Literal, NamedTuple

Verdict = Literal["well", "odd", "wrong"]


class Finding(NamedTuple):
    """What one check saw."""

    what: str
    verdict: Verdict
    found: str
    hint: str = ""
