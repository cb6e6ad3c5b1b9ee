"""On which line of a TOML file a value stands, by the path to it that an error tells.

TOML readers give values without their lines. This one reads a file for the lines alone, and takes for granted
that it is TOML.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<gap> \s+ | \#[^\n]* )
    | \"{3} (?: \\. | [^\\] )*? \"{3,5}     # five quotes: two of the text, three that end it
    | '{3} .*? '{3,5}
    | \" (?: \\. | [^"\\] )* \" | '[^']*'
    | [][{}=,]
    | \d{4}-\d\d-\d\d\x20\d[^\s\#,\]}]*     # a date and a time, the one value with a space in it
    | [^][{}=,\s\#"']+
    """,
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")
_PLACE = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class _Found(NamedTuple):
    path: list[str]
    line: int


def located(where: str, text: str, place: str, key: str = "") -> str:
    """Where a place is in the file `where`, with its line; `key` is one of it that should not be there."""
    line = line_of(text, f"{place}.{key}".strip("."))
    parts = [f"line {line}"] * bool(line) + [place] * bool(place)
    return f"{where}: {', '.join(parts)}" if parts else where


def line_of(text: str, place: str) -> int:
    """The line, from 1, of the innermost part of `place` that is written out; 0 for none.

    A place is a path such as `wheeling[1].loss_ppm`; `[...]` stands for any key.
    """
    target = [name or index for name, index in _PLACE.findall(place)]
    best = max(_File(text).places(), key=lambda found: _matched(found.path, target), default=_Found([], 0))
    return best.line if _matched(best.path, target) else 0


class _File:
    """A file as tokens, taken one by one."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next, self.line = next(self._tokens)

    def places(self) -> Iterator[_Found]:
        """Every header, key and element of an array, in the order of the file."""
        counts: dict[tuple[str, ...], int] = {}
        header: list[str] = []
        while self._next:
            if self._next != "[":
                yield from self._pair(header)
                continue
            line = self.line
            self._take()
            is_array = self._took("[")
            header = _resolved(self._parts("]"), is_array, counts)
            if is_array:
                self._take()
                yield _Found(header[:-1], line)
            yield _Found(header, line)

    def _pair(self, table: list[str]) -> Iterator[_Found]:
        line = self.line
        path = table + self._parts("=")
        yield _Found(path, line)
        yield from self._value(path)

    def _value(self, path: list[str]) -> Iterator[_Found]:
        begin = self._take()
        if begin not in ("[", "{"):
            return
        index = 0
        while not self._took("]" if begin == "[" else "}"):
            if self._took(","):
                index += 1
            elif begin == "[":
                yield _Found(element := [*path, str(index)], self.line)
                yield from self._value(element)
            else:
                yield from self._pair(path)

    def _parts(self, end: str) -> list[str]:
        """A dotted key up to the token that ends it."""
        dotted = ""
        while not self._took(end):
            dotted += self._take()
        return ["".join(part) for part in _PART.findall(dotted)]

    def _took(self, token: str) -> bool:
        """Whether this token was the next one; then it is taken."""
        if self._next != token:
            return False
        self._take()
        return True

    def _take(self) -> str:
        taken = self._next
        self._next, self.line = next(self._tokens)
        return taken


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """The tokens with their lines, and at last an empty one."""
    line = 1
    for found in _TOKEN.finditer(text):
        if not found["gap"]:
            yield found[0], line
        line += found[0].count("\n")
    yield "", line


def _resolved(names: list[str], is_array: bool, counts: dict[tuple[str, ...], int]) -> list[str]:
    """A header's path with the number that each of its arrays has come to."""
    path: list[str] = []
    for place, name in enumerate(names, 1):
        path.append(name)
        key = tuple(path)
        if is_array and place == len(names):
            counts[key] = counts.get(key, -1) + 1
            for other in [other for other in counts if other[: len(key)] == key and other != key]:
                del counts[other]
        if key in counts:
            path.append(str(counts[key]))
    return path


def _matched(path: list[str], target: list[str]) -> int:
    """How many parts of the target a path stands for; none where it leads elsewhere."""
    if len(path) > len(target):
        return 0
    agree = all(wanted in ("...", part) for part, wanted in zip(path, target, strict=False))
    return len(path) if agree else 0
