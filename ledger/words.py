"""Words for people: counted things, and what was perhaps meant."""

import difflib
from collections.abc import Iterable


def counted(number: int, one: str, many: str = "") -> str:
    """`1 building`, `2 buildings`, `1,000 buildings`; `many` where an `s` does not make the plural."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A question, with a space behind it, naming what is spelt most like `word`; empty where nothing is."""
    spelt = {name.lower(): name for name in sorted(names)}
    near = difflib.get_close_matches(word.lower(), spelt, 1)
    return f"did you mean `{spelt[near[0]]}`? " if near else ""
