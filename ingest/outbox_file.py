"""The file an outbox lives in: made once, checked when opened, written in transactions that tell the truth.

SQLite in WAL mode with `synchronous=FULL`: a transaction is shown only after its frames were synced, so what
can be read back after a failure is on the disk. The file is held exclusively: two gateways on one outbox
would sign two chains. Nothing is ever repaired or made anew by itself, because what stands here and in no
receipt is nowhere else.

A full disk must not keep the outbox from emptying itself, and in WAL mode even a DELETE needs room. So a file
of zeros lies beside it, and goes when sending needs its room; it is put back once all is sent.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import structlog

from ledger.errors import Damaged, Unavailable

log = structlog.get_logger(__name__)

APPLICATION_ID = 0x454C4F42  # "ELOB"
VERSION = 1
BUSY_SECONDS = 2.0
RESERVE_BYTES = 8 * 2**20
"""SQLite moves its log into the file at 4 MiB: room for that, and for as much again."""

_SQL = Path(__file__).parent / "sql"
_CHUNK_BYTES = 2**16

Result = TypeVar("Result")


class OutboxUnavailable(Unavailable):
    """The disk does not do what it is asked."""

    code = "outbox-unavailable"


class OutboxFull(OutboxUnavailable):
    """There is no room for another body; nothing was written."""

    code = "outbox-full"


class OutboxInUse(OutboxUnavailable):
    """Another process holds the file."""

    code = "outbox-in-use"


class OutboxDamaged(Damaged):
    """The file is not a sound outbox."""

    code = "outbox-damaged"


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_SQL / f"{name}.sql").read_text()


class OutboxFile:
    """One open outbox file, for one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, reserve_bytes: int) -> None:
        self.path = path
        self._connection = connection
        self._reserve = path.with_name(f"{path.name}.reserve")
        self._reserve_bytes = reserve_bytes

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> "OutboxFile":
        """Open the outbox at `path`; where there is none, make an empty one.

        Raises `OutboxDamaged`, `OutboxInUse`, `OutboxUnavailable` or `OutboxFull`.
        """
        try:
            _check_presence(path)
            if not path.exists():
                _create(path)
            connection = _connect(path, factory)
        except sqlite3.Error as error:
            raise _coded(error, path) from error
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise OutboxUnavailable(f"the outbox cannot be made: {error}", where=str(path)) from error
        opened = cls(path, connection, reserve_bytes)
        try:
            opened.read(lambda db: _check_content(db, path))
        except BaseException:
            connection.close()
            raise
        opened.refill_reserve()
        return opened

    def close(self) -> None:
        """Move the log into the file and let go of it."""
        self._connection.close()

    def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `work` reads. Raises `OutboxUnavailable`, `OutboxDamaged`."""
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise _coded(error, self.path) from error

    def write(self, work: Callable[[sqlite3.Connection], Result], *, empties: bool = False) -> Result:
        """Do `work` in one transaction that is on the disk on return.

        `empties`: the work helps to empty the outbox, and on a full disk may have the reserved room.

        Raises `OutboxFull`, `OutboxUnavailable` or `OutboxDamaged`. Then it is done whole or not at all, and
        reading tells which: a disk can fail after it has written.
        """
        try:
            return self._transaction(work)
        except OutboxFull:
            if not (empties and self._spend_reserve()):
                raise
            return self._transaction(work)

    def _transaction(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            result = work(db)
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _coded(error, self.path) from error
            raise
        return result

    def refill_reserve(self) -> None:
        """Lay aside room for emptying a full disk, as far as there is any."""
        if self._reserve_bytes == 0 or self._reserve.exists():
            return
        draft = self._reserve.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                for _ in range(0, self._reserve_bytes, _CHUNK_BYTES):
                    file.write(bytes(_CHUNK_BYTES))
                os.fsync(file.fileno())
            draft.rename(self._reserve)
        except OSError as error:
            draft.unlink(missing_ok=True)
            log.warning("no room to lay aside for emptying the outbox", detail=str(error))

    def _spend_reserve(self) -> bool:
        if not self._reserve.exists():
            return False
        self._reserve.unlink()
        log.warning("disk full, using the room laid aside to empty the outbox", path=str(self.path))
        return True


def _check_presence(path: Path) -> None:
    """An outbox is made whole and then named, so an empty file or a log alone was one once; and whoever made
    a link meant the outbox behind it, which a new one must not replace."""
    if path.is_symlink() and not path.exists():
        raise OutboxUnavailable("the link leads nowhere", where=str(path), hint="is the disk mounted?")
    lost = path.stat().st_size == 0 if path.exists() else _log_of(path).exists()
    if lost:
        raise _damaged("the outbox is empty or gone while traces of it are there", path)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.new")
    for leftover in (draft, _log_of(draft)):
        leftover.unlink(missing_ok=True)
    db = _connect(draft, sqlite3.Connection)
    with contextlib.closing(db):
        db.executescript(statement("create_outbox"))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    draft.chmod(0o600)
    _sync(draft)
    draft.rename(path)
    _sync(path.parent)
    log.info("outbox made", path=str(path))


def _connect(path: Path, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=factory
    )
    try:
        # Exclusive before anything else: then there is no shared memory file, and the lock stays.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk there
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def _check_content(db: sqlite3.Connection, path: Path) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise _damaged("this file is not an outbox", path)
    if version != VERSION:
        raise OutboxUnavailable(
            f"the outbox is of version {version}, and this program knows version {VERSION}",
            where=str(path),
            hint="use the version of the program that made it",
        )
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(f"the outbox contradicts itself: {verdict}", path)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(what: str, path: Path) -> OutboxDamaged:
    return OutboxDamaged(
        what,
        where=str(path),
        hint=(
            f"move {path.name}* to a safe place and try `sqlite3 {path.name} .recover` on a copy; then start"
            " the gateway again: it makes a new outbox and goes on from the ledger's heads. Readings that no"
            " receipt covered are only in the old file"
        ),
    )


def _coded(error: sqlite3.Error, path: Path) -> Exception:
    """SQLite's words (https://sqlite.org/rescode.html) in ours; a mistake in our own SQL stays what it is."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(f"the outbox cannot be read: {error}", path)
    kind, hint = _CODES.get(primary, (None, ""))
    return kind(str(error), where=str(path), hint=hint) if kind else error


_ROOM = (
    "free some disk space; what cannot be kept waits in memory, and the oldest of that is dropped in the end"
)
_RIVAL = "is another gateway of this id running? each needs an outbox of its own"
_DISK = "check the disk, its mount options and who may write to the folder"

_CODES: dict[int, tuple[type[OutboxUnavailable], str]] = {
    sqlite3.SQLITE_FULL: (OutboxFull, _ROOM),
    sqlite3.SQLITE_BUSY: (OutboxInUse, _RIVAL),
    sqlite3.SQLITE_LOCKED: (OutboxInUse, _RIVAL),
    sqlite3.SQLITE_IOERR: (OutboxUnavailable, _DISK),
    sqlite3.SQLITE_READONLY: (OutboxUnavailable, _DISK),
    sqlite3.SQLITE_CANTOPEN: (OutboxUnavailable, _DISK),
    sqlite3.SQLITE_PERM: (OutboxUnavailable, _DISK),
    sqlite3.SQLITE_PROTOCOL: (OutboxUnavailable, _DISK),
}
