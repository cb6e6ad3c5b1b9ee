"""A request as handlers see it: the library's, which would fail at a body that is odd enough."""

from typing import Any

from litestar import Request

from ledger.canonical import Malformed


class ReadRequest(Request[Any, Any, Any]):
    """One whose body is read without falling over it."""

    async def json(self) -> Any:
        """Its body. Raises `Malformed`, and what the library raises for what is no JSON."""
        try:
            return await super().json()
        except UnicodeDecodeError as error:
            raise Malformed("the body is not UTF-8") from error
        except RecursionError as error:
            raise Malformed("the body is nested too deeply") from error
