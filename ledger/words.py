"""Words for people: counted things, and what was perhaps meant."""

import difflib
from collections.abc import Iterable

MEANT_MAX = 4
"""Names among which a person finds the one that was meant."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 building`, `2 buildings`, `1,000 buildings`; `many` where an `s` does not make the plural."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A question, with a space behind it, naming what was perhaps meant; empty where nothing is near.

    That is what begins with it, up to `MEANT_MAX` names, or else what is spelt most like it.
    """
    spelt = {name.lower(): name for name in sorted(names)}
    near = difflib.get_close_matches(word.lower(), spelt, 1)
    if not near:
        return ""
    begun = [name for name in spelt if name.startswith(word.lower())]
    *others, last = [f"`{spelt[name]}`" for name in (begun or near)[:MEANT_MAX]]
    return f"did you mean {', '.join(others)} or {last}? " if others else f"did you mean {last}? "
