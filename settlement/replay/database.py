"""The file of SQLite's that a replay works in: nobody else sees it, and it is gone with the block."""

import sqlite3
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ledger.errors import Unavailable

CACHE_KIB = 8 * 1024
_SQL = Path(__file__).parent / "sql"

T = TypeVar("T")


class NoRoom(Unavailable):
    """There is no room to replay a book in."""

    code = "no-room"


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_SQL / f"{name}.sql").read_text()


@contextmanager
def working_file() -> Iterator[sqlite3.Connection]:
    """A database with its tables, which spills to disk what its cache does not hold. Raises `NoRoom`."""
    connection = sqlite3.connect("", isolation_level=None)  # without a name: a file of its own
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.executescript(statement("create_tables"))
        yield connection
    except sqlite3.OperationalError as error:
        raise NoRoom(
            f"the book cannot be replayed: {error}", hint="SQLITE_TMPDIR names a folder with room for it"
        ) from error
    finally:
        connection.close()


@contextmanager
def together(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written within happens together or not at all."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@lru_cache(4_096)  # the meters of a page share their instants
def instant(seconds: int) -> datetime:
    """The instant so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds(instant: datetime) -> int:
    """The same as a number."""
    return int(instant.timestamp())


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never has to wait comes to: a store in a file of SQLite's answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a replay waits for nothing")
