"""TOML that a person wrote, read so that whatever the file holds ends in a coded error."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.errors import BadInput


def read_text(path: Path, error_type: type[BadInput], hint: str = "") -> str:
    """A file of UTF-8. Raises `error_type`; of a missing file its cause is the `FileNotFoundError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise error_type(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        raise error_type(f"this is no UTF-8: {error}", where=str(path), hint=hint) from error
    except ValueError as error:  # a path with a zero byte
        raise error_type(f"cannot be read: {error}", where=repr(path), hint=hint) from error


def parse_text(
    text: str,
    where: str,
    error_type: type[BadInput],
    hint: str = "",
    parse_float: Callable[[str], Any] = float,
) -> dict[str, Any]:
    """The tables of the file `where`. Raises `error_type`."""
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except tomllib.TOMLDecodeError as error:
        raise error_type(f"cannot be read as TOML: {error}", where=where, hint=hint) from error
    except (ValueError, ArithmeticError) as error:
        raise error_type("cannot be read: a number is beyond all numbers", where=where, hint=hint) from error
    except RecursionError as error:
        raise error_type(
            "cannot be read: lists stand in lists without end", where=where, hint=hint
        ) from error
