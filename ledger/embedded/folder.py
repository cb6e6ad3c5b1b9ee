"""The folder of one embedded server: who owns it, who may use it, and its private files.

A lock that the kernel holds (flock) keeps a second process out. It ends with its owner, also after
kill -9, so there is no stale lock to clear; the file only tells the pid to whoever is refused.
"""

import fcntl
import os
import shutil
from pathlib import Path

from ledger.embedded.account import Account
from ledger.embedded.errors import FolderClosed, FolderInUse

LOCK = "lock"


class ServerFolder:
    """A server's folder, ours alone from `open_folder` until `close`."""

    def __init__(self, path: Path, account: Account, lock: int) -> None:
        self.path = path
        self.account = account
        self._lock = lock

    def close(self) -> None:
        """Let others have the folder. The lock file stays: removing it would let two in at once."""
        os.close(self._lock)

    def make_folder(self, name: str) -> Path:
        """A sub-folder that the server owns and nobody else may enter."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        give(path, self.account)
        return path

    def remove(self, pattern: str) -> None:
        """Remove the sub-folders that `pattern` matches with all they hold, as far as that goes: into one
        that was left behind, a process that is about to end may still write."""
        for path in self.path.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)

    def write_private(self, name: str, text: str) -> Path:
        """Write a file that its owner alone can read; a crash leaves the old text or the new."""
        path, draft = self.path / name, self.path / f"{name}.new"
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        give(draft, self.account)
        draft.replace(path)
        self.sync()
        return path

    def sync(self) -> None:
        """Have the folder's own entries on disk: what was renamed in it stays renamed."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_folder(path: Path, account: Account) -> ServerFolder:
    """Make `path` if it is missing, see that `account` owns and reaches it, and lock it.

    Raises `FolderClosed` and `FolderInUse`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        give(path, account)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderClosed(
            f"{account.name} cannot use the folder: {error.strerror}",
            where=str(path),
            hint="choose another folder, or give this one to the user that runs the ledger",
        ) from error
    try:
        _check_reach(path, account)
        _take(lock, path)
    except BaseException:
        os.close(lock)
        raise
    return ServerFolder(path, account, lock)


def make_passable(path: Path) -> None:
    """Make the folder above the servers' folders if it is missing: private, but root's can be passed
    through, because root's servers run as somebody else."""
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)


def give(path: Path, account: Account) -> None:
    """Make `account` the owner of `path`; only root can give, and only root needs to."""
    if path.stat().st_uid != account.uid:
        os.chown(path, account.uid, account.gid)


def _check_reach(path: Path, account: Account) -> None:
    closed = account.first_closed(path)
    if closed is not None:
        raise FolderClosed(
            f"the server runs as {account.name}, who may not pass through {closed}",
            where=str(path),
            hint="choose a folder outside it, such as /var/lib/energy-ledger, or run the ledger"
            " as an ordinary user instead of root",
        )


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode().strip() or "that is just starting"
        raise FolderInUse(
            f"process {owner} has this folder",
            where=str(path),
            hint="stop that process, or choose another folder",
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
