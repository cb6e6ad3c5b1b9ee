"""Schemas of the API's description as tables to read: a row a field, those of what is inside of it below it.

What is everywhere, such as an amount of money, and what may be one of several kinds is told once, in a part
of its own, and linked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

EVERYWHERE = frozenset({"Amount", "Price"})
LARGEST = 2**53 - 1
FORMATS = {"date-time": "instant (RFC 3339)", "date": "date (YYYY-MM-DD)"}
KINDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "array": "list"}
LIMITS = {
    "minimum": "at least {}", "maximum": "at most {}", "exclusiveMinimum": "above {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minItems": "at least {} of them", "maxItems": "at most {} of them",
}  # fmt: skip

Schema = Mapping[str, Any]


class Field(NamedTuple):
    """A row: a field by its path from the top, such as `items[].limit`."""

    name: str
    schema: Schema
    is_required: bool


class Schemas:
    """The schemas of a description. Those that were linked to are remembered, to be told as well."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas
        self._linked: dict[str, None] = {}

    def table(self, schema: Schema, *, is_sent: bool = False) -> str:
        """The fields of a value, those of what is inside of it as well; empty for what has none. Of what is
        sent it is told what has to be there."""
        rows = [
            self.row(name, each, is_sent and needed) for name, each, needed in self._fields(schema, "", ())
        ]
        return table(("field", "type", "what it is"), rows) if rows else ""

    def row(self, name: str, schema: Schema, is_required: bool, place: str = "") -> Sequence[str]:
        """What is to be known of one value: its name, its type, and what it is with limits and default."""
        needed = " <b>required</b>" if is_required else ""
        beside = f" {place}" if place else ""
        return f"<code>{escape(name)}</code>{needed}{beside}", self.kind(schema), _told(schema)

    def kind(self, schema: Schema) -> str:
        """The type of a value in words."""
        if "$ref" in schema:
            return self._link(_name(schema))
        if choices := schema.get("oneOf") or schema.get("anyOf"):
            return " or ".join(dict.fromkeys(self.kind({**_form(schema), **each}) for each in choices))
        if "const" in schema:
            return f"<code>{escape(str(schema['const']))}</code>"
        if "enum" in schema:
            return " or ".join(f"<code>{escape(_value(each))}</code>" for each in schema["enum"])
        kinds = schema.get("type", "object")
        if isinstance(kinds, list):
            return " or ".join(self.kind({**schema, "type": each}) for each in kinds)
        if kinds == "array" and schema.get("items"):
            return f"list of {self.kind(schema['items'])}"
        if isinstance(each := schema.get("additionalProperties"), Mapping) and each:
            return f"object: by name a {self.kind(each)}"
        return FORMATS.get(schema.get("format", ""), KINDS.get(kinds, str(kinds)))

    def linked(self) -> Iterator[tuple[str, str, str]]:
        """Every schema that was linked to: its name, what it is, its fields."""
        done: set[str] = set()
        while left := [name for name in self._linked if name not in done]:
            for name in left:
                done.add(name)
                schema = self._schemas[name]
                yield name, prose(schema.get("description", "")), self.table(schema) or self.kind(schema)

    def _link(self, name: str) -> str:
        if not self._is_linked(name):
            return "object"
        self._linked[name] = None
        return f'<a href="#schema-{escape(name)}">{escape(name.removesuffix("Shape"))}</a>'

    def _is_linked(self, name: str) -> bool:
        return name in EVERYWHERE or "properties" not in self._schemas[name] or self._is_a_choice(name)

    def _is_a_choice(self, name: str) -> bool:
        """Whether a schema is one of several kinds of events or messages."""
        fields = self._schemas[name].get("properties", {})
        return any(
            "const" in fields.get(tag, {}) or len(fields.get(tag, {}).get("enum", ())) == 1
            for tag in ("type", "event")
        )

    def _fields(self, schema: Schema, before: str, inside: tuple[str, ...]) -> Iterator[Field]:
        """The fields of an object, or of the objects of a list."""
        ending, name = _object_in(schema)
        if inside and name is not None and (name in inside or self._is_linked(name)):
            return
        found = self._schemas[name] if name is not None else schema
        start = f"{before}{ending}." if before else (f"{ending}." if ending else "")
        needed = found.get("required", ())
        for field, each in found.get("properties", {}).items():
            yield Field(f"{start}{field}", each, field in needed)
            if _object_in(each)[1] is not None:
                yield from self._fields(each, f"{start}{field}", (*inside, name or ""))


def _object_in(schema: Schema) -> tuple[str, str | None]:
    """The schema that is inside of a value, and `[]` for each list around it; or none."""
    if "$ref" in schema:
        return "", _name(schema)
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        told = [each for each in choices if each.get("type") != "null"]
        return _object_in(told[0]) if len(told) == 1 else ("", None)
    if schema.get("items"):
        ending, name = _object_in(schema["items"])
        return f"[]{ending}", name
    return "", None


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _form(schema: Schema) -> dict[str, Any]:
    return {"format": schema["format"]} if "format" in schema else {}


def _told(schema: Schema) -> str:
    """What a value is, with its limits and its default."""
    told = [prose(schema.get("description", "")), *_limits(schema)]
    default = schema.get("default")
    if default not in (None, "", [], {}):
        told.append(f"By default <code>{escape(_value(default))}</code>.")
    return " ".join(each for each in told if each)


def _limits(schema: Schema) -> Iterator[str]:
    """The limits of a value, or of what it may be besides null."""
    for each in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items") or {}):
        said = [
            words.format(f"{int(each[name]):,}")
            for name, words in LIMITS.items()
            if name in each and abs(each[name]) != LARGEST
        ]
        if "pattern" in each:
            said.append(f"matching <code>{escape(each['pattern'])}</code>")
        if said:
            yield f"<i>{', '.join(said)}.</i>"


def _value(value: Any) -> str:
    """As JSON writes it, a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that is moved sideways by itself where the window is narrow."""
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{each}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def paragraphs(text: str) -> str:
    """A longer text, its paragraphs apart."""
    return "".join(f"<p>{prose(each)}</p>" for each in text.split("\n\n") if each.strip())


def prose(text: str) -> str:
    """A text for people: what stands between backticks is code, and between double asterisks strong."""
    told = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", told)
