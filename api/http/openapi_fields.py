"""What every field of the API is, told once: by its name, as `openapi_fields.toml` has it.

A table of that file tells of one schema's fields what is not so everywhere. A struct can say it itself, by
`msgspec.Meta`: that counts before what is told of the name everywhere, and after what is told of the schema.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".toml")


@cache
def _told() -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text())


def described(schema: str, field: str) -> str:
    """What a field of a schema is; empty where nothing is told of it."""
    of_schema = _told().get(schema, {}).get(field)
    everywhere = _told().get(field, "")
    return str(of_schema or (everywhere if isinstance(everywhere, str) else ""))


def names() -> set[tuple[str, str]]:
    """Every (schema, field) that is told of, the schema empty for what is so everywhere."""
    return {
        (name if isinstance(value, Mapping) else "", field)
        for name, value in _told().items()
        for field in (value if isinstance(value, Mapping) else (name,))
    }


def tell_fields(schemas: Mapping[str, Any]) -> None:
    """Put what each field is to all schemas of a description."""
    for name, schema in schemas.items():
        for field, told in schema.get("properties", {}).items():
            if text := _told().get(name, {}).get(field) or told.get("description") or described(name, field):
                told["description"] = text
