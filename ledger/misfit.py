"""What does not fit in a file that somebody wrote: where it is, and what would fit there."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from ledger.words import did_you_mean

EXPECTED = {
    "array": "a list is meant: [..], or tables under [[..]]",
    "bool": "true or false is meant, without quotes",
    "float": "a number is meant, without quotes",
    "int": "a whole number is meant, without quotes or a decimal point",
    "object": "a table is meant: its keys stand below [..]",
    "str": 'text is meant: write it in quotes, "like this"',
}
"""What to write, by msgspec's name for the kind of value that is expected."""


class Misfit(NamedTuple):
    """`place` is a path such as `gateways[0].lines[1].framer`, empty for the whole file."""

    what: str
    place: str
    hint: str


def misfit(error: msgspec.ValidationError, kind: type[Any], more: Iterable[str] = ()) -> Misfit:
    """What msgspec found wrong with a value that should be a `kind`, and what may stand there.

    `more` are keys of the outermost table that other readers of the file know. A pattern is told by its
    `description`.
    """
    what, _, rest = str(error).partition(" - at `$")
    place = rest.rstrip("`").lstrip(".")
    node, description = _node(inspect.type_info(kind), place)
    if description and "matching regex" in what:
        return Misfit("the text does not have the form that is asked for", place, description)
    if (expected := re.match(r"Expected `(\w+)[^`]*`, got", what)) is not None:
        return Misfit(what, place, EXPECTED.get(expected[1], ""))
    match node:
        case inspect.StructType():
            return Misfit(what, place, _keys(what, node, place, () if place else more))
        case inspect.LiteralType():
            return Misfit(what, place, _choices(what, node))
    return Misfit(what, place, "")


def _node(node: inspect.Type | None, place: str) -> tuple[inspect.Type | None, str]:
    """What should stand at `place`, and its description. Of a union it is the first that may stand there."""
    for part in ["", *re.findall(r"[^.\[\]]+", place)]:
        description = ""
        match node:
            case inspect.StructType(fields=fields) if part:
                node = next((field.type for field in fields if field.encode_name == part), None)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if part:
                node = item
        if isinstance(node, inspect.UnionType):
            node = node.types[0]
        if isinstance(node, inspect.Metadata):
            description = str((node.extra_json_schema or {}).get("description", ""))
            node = node.type
    return node, description


def _keys(what: str, table: inspect.StructType, place: str, more: Iterable[str]) -> str:
    names = {field.encode_name for field in table.fields} | set(more)
    unknown = re.search(r"unknown field `(.+)`", what)
    meant = did_you_mean(unknown[1], names) if unknown else ""
    name = re.sub(r"\[\d+]", "", place)
    header = f"[[{name}]]" if place.endswith("]") else f"[{name}]" if name else "this file"
    return f"{meant}allowed in {header}: {', '.join(sorted(names))}"


def _choices(what: str, node: inspect.LiteralType) -> str:
    wrong = re.search(r"enum value '(.*)'", what)
    meant = did_you_mean(wrong[1], map(str, node.values)) if wrong else ""
    return f"{meant}allowed: {', '.join(map(str, node.values))}"
