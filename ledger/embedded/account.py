"""The account that an embedded server runs as.

Postgres refuses to run as root, and nothing that listens should. Started by an ordinary user, a
server runs as that user. Started by root, it runs as the owner of its folder, or, for a new folder,
as the first account of `UNPRIVILEGED` that the machine has. Nothing on the machine is changed for
it: no account is made and no folder of others is opened up.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from ledger.embedded.errors import AccountMissing

UNPRIVILEGED = ("energy-ledger", "postgres", "nobody")
"""In order of preference: ours if the installer made it, the database's, and the one all have."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def first_closed(self, path: Path) -> Path | None:
        """The outermost folder on the way to `path`, itself included, that this account may not
        pass through (or run, if `path` is a program); None if it can reach it. `path` is absolute
        and exists."""
        steps = reversed([path, *path.parents])
        return next((step for step in steps if not self._may_enter(step)), None)

    def _may_enter(self, step: Path) -> bool:
        status = step.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def current_account() -> Account:
    """Who runs this process. Raises `AccountMissing` for a user id that has no name, which Postgres
    does not accept either."""
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise AccountMissing(
            f"user id {os.geteuid()} has no name on this machine",
            hint="run as a user of this machine, or give the id a line in /etc/passwd",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_account(folder: Path) -> Account:
    """Who the server in `folder` shall run as. Raises `AccountMissing`."""
    current = current_account()
    if current.uid != 0:
        return current
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        return _named(pwd.getpwuid(owner))
    for name in UNPRIVILEGED:
        try:
            return _named(pwd.getpwnam(name))
        except KeyError:
            continue
    raise AccountMissing(
        f"root may not run the server, and none of the accounts {', '.join(UNPRIVILEGED)} exists",
        hint=f"make one: useradd --system {UNPRIVILEGED[0]}",
    )


def _named(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
