"""A request as handlers see it: the library's, which would fail at a body that is odd enough."""

import json
from collections.abc import Sequence
from typing import Any

from litestar import Request

from ledger.canonical import Malformed


class ReadRequest(Request[Any, Any, Any]):
    """One whose body is read without falling over it."""

    async def json(self) -> Any:
        """Its body. Raises `Malformed`, and what the library raises for what is no JSON."""
        try:
            found = await super().json()
            _check_once(await self.body())
            return found
        except UnicodeDecodeError as error:
            raise Malformed("the body is not UTF-8") from error
        except RecursionError as error:
            raise Malformed("the body is nested too deeply") from error


def _check_once(body: bytes) -> None:
    """Return if no name is told twice in an object: of two values the library takes the last, and another
    reader the first (RFC 8259, section 4). Raises `Malformed`."""
    try:
        json.loads(body, object_pairs_hook=_object, parse_int=str, parse_float=str)
    except ValueError:
        return  # the library has read it, and knows better what else is wrong


def _object(pairs: Sequence[tuple[str, Any]]) -> None:
    told: set[str] = set()
    for name, _ in pairs:
        if name in told:
            raise Malformed("a field of the body is told twice", where=name[:80], hint="tell it once")
        told.add(name)
