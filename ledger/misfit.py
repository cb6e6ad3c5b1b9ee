"""What does not fit in a file that somebody wrote: where it is, and what would fit there."""

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from ledger.canonical import INTEGER_MAX
from ledger.words import did_you_mean

EXPECTED = {
    "array": "a list is meant: [..], or tables under [[..]]",
    "date": "a day is meant, without quotes or a time: 2026-07-01",
    "bool": "true or false is meant, without quotes",
    "float": "a number is meant, without quotes",
    "int": "a whole number is meant, without quotes or a decimal point",
    "object": "a table is meant: its keys stand below [..]",
    "str": 'text is meant: write it in quotes, "like this"',
}
"""What to write, by msgspec's name for the kind of value that is expected."""


_BEYOND = re.compile(r"Expected `(?:int|float|str)` (of length )?([<>]=?) (-?[\d.]+)$")
_SIGNS = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
_ANY_KEY = "..."
"""How msgspec tells a key that is not a field's name."""


class Misfit(NamedTuple):
    """`place` is a path such as `gateways[0].lines[1].framer`, empty for the whole file."""

    what: str
    place: str
    hint: str


def misfit(
    error: msgspec.ValidationError, kind: type[Any], more: Iterable[str] = (), value: Any = None
) -> Misfit:
    """What msgspec found wrong with a value that should be a `kind`, and what may stand there.

    `more` are keys of the outermost table that other readers of the file know. By `value`, which was to be
    converted, a key that its writer chose is named. A pattern or a number is told by its `description`.
    """
    what, of_key, rest = re.split(r" - at (`key` in )?`\$|$", str(error), maxsplit=1)
    what = re.sub("^Object (contains )?", "", what)
    path = rest.rstrip("`").lstrip(".") + ("[...]" if of_key else "")
    whole = inspect.type_info(kind)
    node, description = _node(whole, path, of_key=bool(of_key))
    place = path if value is None else _with_keys(path, error, kind, value)
    if (pattern := re.search("matching regex '(.*)'", what)) is not None:
        hint = description or f"it has to match {pattern[1]}"
        return Misfit("the text does not have the form that is asked for", place, hint)
    if (beyond := _BEYOND.match(what)) is not None:
        hint = "; ".join(filter(None, (_range(node), description)))
        return Misfit(_bound(place.rpartition(".")[2], *beyond.groups()), place, hint)
    if (expected := re.match(r"Expected `(\w+)[^`]*`, got `(\w+)", what)) is not None:
        is_single = expected.groups() == ("array", "object")
        hint = f"write [[{_name(place)}]], once for each" if is_single else EXPECTED.get(expected[1], "")
        return Misfit(what, place, "; ".join(filter(None, (hint, description))))
    match node:
        case inspect.StructType():
            return Misfit(what, place, _keys(what, node, whole, place, () if place else more))
        case inspect.LiteralType():
            return Misfit(what, place, _choices(what, node))
    return Misfit(what, place, "")


def _bound(key: str, of_length: str | None, sign: str, number: str) -> str:
    """A bound in words."""
    told = f"{int(number):,}" if number.removeprefix("-").isdecimal() else number
    return f"{key} has to be {_SIGNS[sign]} {told}{' characters long' if of_length else ''}"


def _range(node: inspect.Type | None) -> str:
    """Both bounds of a number, where it has two that somebody chose."""
    if not isinstance(node, inspect.IntType | inspect.FloatType) or node.ge is None:
        return ""
    return "" if node.le in (None, INTEGER_MAX) else f"from {node.ge:,} to {node.le:,} is meant"


def _with_keys(path: str, error: msgspec.ValidationError, kind: type[Any], value: Any) -> str:
    """The path with the key where msgspec writes `[...]`: the first one that brings about the error alone."""
    whole = deepcopy(value)
    node, place = whole, path
    for part in _parts(path):
        if part != _ANY_KEY:
            node = node[int(part) if isinstance(node, list) else part]
            continue
        table = dict(node)
        for key, inner in table.items():
            node.clear()
            node[key] = inner
            if _fails_likewise(error, kind, whole):
                place = place.replace(f"[{_ANY_KEY}]", f".{key}", 1)
                node = inner
                break
    return place


def _fails_likewise(error: msgspec.ValidationError, kind: type[Any], value: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as other:
        return str(other) == str(error)
    return False


def _parts(path: str) -> list[str]:
    return re.findall(rf"{re.escape(_ANY_KEY)}|[^.\[\]]+", path)


def _node(node: inspect.Type | None, path: str, *, of_key: bool = False) -> tuple[inspect.Type | None, str]:
    """What should stand at `path`, and its description. Of a union it is the first that may stand there."""
    for part in ["", *_parts(path)]:
        description = ""
        match node:
            case inspect.StructType(fields=fields) if part:
                node = next((field.type for field in fields if field.encode_name == part), None)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if part:
                node = item
            case inspect.DictType(key_type=key, value_type=item) if part:
                node = key if of_key else item
        if isinstance(node, inspect.UnionType):
            node = node.types[0]
        if isinstance(node, inspect.Metadata):
            description = str((node.extra_json_schema or {}).get("description", ""))
            node = node.type
    return node, description


def _keys(what: str, table: inspect.StructType, whole: inspect.Type, place: str, more: Iterable[str]) -> str:
    names = {field.encode_name for field in table.fields} | set(more)
    unknown = re.search(r"unknown field `(.+)`", what)
    meant = did_you_mean(unknown[1], names) or _elsewhere(unknown[1], whole) if unknown else ""
    name = _name(place)
    header = f"[[{name}]]" if place.endswith("]") else f"[{name}]" if name else "this file"
    return f"{meant}allowed in {header}: {', '.join(sorted(names))}"


def _elsewhere(key: str, whole: inspect.Type) -> str:
    """The tables that have such a key: its header may be missing, or stand in a comment."""
    fields = whole.fields if isinstance(whole, inspect.StructType) else ()
    tables = [
        f"[{field.encode_name}]"
        for field in fields
        if isinstance(field.type, inspect.StructType)
        and key in {inner.encode_name for inner in field.type.fields}
    ]
    return f"`{key}` belongs under {' or '.join(tables)}; " if tables else ""


def _name(place: str) -> str:
    """The place as a header names it."""
    return re.sub(r"\[\d+]", "", place)


def _choices(what: str, node: inspect.LiteralType) -> str:
    wrong = re.search(r"enum value '(.*)'", what)
    meant = did_you_mean(wrong[1], map(str, node.values)) if wrong else ""
    return f"{meant}allowed: {', '.join(map(str, node.values))}"
