"""On which line of a TOML file a value stands, by the path to it that an error tells.

TOML readers give values without their lines. This one knows headers and keys alone, which is enough to point
at a line: where it is mistaken, the path beside the number still says what is meant.
"""

import re
from typing import NamedTuple

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w.\"'-]+?)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")
_PLACE = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class _Found(NamedTuple):
    matched: int
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
    counts: dict[tuple[str, ...], int] = {}
    header: list[str] = []
    best = _Found(0, 0)
    for number, line in enumerate(text.splitlines(), 1):
        if (found := _HEADER.fullmatch(line)) is not None:
            header = _resolved(_parts(found[2]), found[1] == "[[", counts)
            path = header
        elif (found := _KEY.match(line)) is not None:
            path = header + _parts(found[1])
        else:
            continue
        matched = _matched(path, target)
        if matched > best.matched:
            best = _Found(matched, number)
    return best.line


def _parts(dotted: str) -> list[str]:
    return ["".join(part) for part in _PART.findall(dotted)]


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
