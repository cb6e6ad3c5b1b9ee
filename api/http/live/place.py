"""The id of a message: a place in the book.

    1234.2      all before position 1234 was told, and of what stands there the first two messages

Positions are given out in the order in which they become visible, and never again: who has everything up to a
place can go on from it, whichever process answers, and after any restart.
"""

import re
from typing import NamedTuple, Self

from ledger.errors import BadInput

_FORM = re.compile(r"([0-9]{1,15})\.([0-9]{1,9})\Z")


class BadPlace(BadInput):
    """An id that no message had."""

    code = "bad-live-id"


class Place(NamedTuple):
    """Up to where a listener has been told everything."""

    position: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.position}.{self.part}"

    @classmethod
    def told(cls, text: str) -> Self:
        """The place that a text tells. Raises `BadPlace`."""
        found = _FORM.match(text)
        if found is None:
            raise BadPlace(
                "this is no id of a message", where=text[:40],
                hint="give back the newest id that was told, such as 1234.1, or none to begin now",
            )  # fmt: skip
        return cls(int(found[1]), int(found[2]))
