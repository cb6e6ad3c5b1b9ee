"""One server process: launched so that it cannot outlive us, watched, and ended.

It must be launched from the thread that runs the event loop: to the Linux kernel the parent is the
thread that made the process, and the server ends with it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ledger.embedded import launcher
from ledger.embedded.account import Account

POLL_SECONDS = 0.005
LOG_BYTES_MAX = 8 * 1024 * 1024
TAIL_LINES = 15
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
"""All that a server inherits: a PGDATA or PGPORT of the caller's must not lead it elsewhere."""


class ServerProcess:
    """A program that writes to a log and ends with us."""

    def __init__(self, running: "subprocess.Popen[bytes]", log: "Log") -> None:
        self._running = running
        self.log = log

    @property
    def pid(self) -> int:
        """The program's own process id: the launcher became the program."""
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs."""
        return self._running.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        self._running.send_signal(number)

    async def ended_within(self, seconds: float) -> bool:
        """Whether it ends within `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.exit_code is None:
                    await asyncio.sleep(POLL_SECONDS)
        return self.exit_code is not None

    async def end(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Send each signal and give it its seconds, until the program ends; then kill it."""
        for wanted, seconds in steps:
            self._running.send_signal(wanted)
            if await self.ended_within(seconds):
                return
        await self.kill()

    async def kill(self) -> None:
        """End it and all that descends from it at once with SIGKILL, as a power failure would."""
        if self.exit_code is not None:
            return
        family = [self.pid]
        try:
            # Stopped first, each before its children are looked for: so none makes another unseen, or reacts
            # to losing one. The list grows while it is walked.
            for member in family:
                _signal(member, signal.SIGSTOP)
                while _moves(member):
                    await asyncio.sleep(POLL_SECONDS)
                family += children_of(member)
        finally:
            for member in family:
                _signal(member, signal.SIGKILL)
        while self.exit_code is None or any(map(is_alive, family[1:])):
            await asyncio.sleep(POLL_SECONDS)


class Log:
    """A server's log file, of which only what was written since it was opened is ours to show."""

    def __init__(self, path: Path) -> None:
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".old.log"))
        self.path = path
        self._from = path.stat().st_size if path.exists() else 0

    def tail(self, secrets: Sequence[str] = ()) -> str:
        """Its last lines, with every secret blotted out."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(self._from)
            text = file.read().decode(errors="replace")
        for secret in secrets:
            text = text.replace(secret, "***")
        return "\n".join(text.splitlines()[-TAIL_LINES:])


def launch(
    command: Sequence[str | Path],
    *,
    account: Account,
    folder: Path,
    log: Log,
    death_signal: signal.Signals,
    given: IO[bytes] | None = None,
) -> ServerProcess:
    """Start `command` in `folder` as `account`, its output going to `log`.

    It is sent `death_signal` when this process ends, however that happens. A session of its own
    keeps a terminal's Ctrl-C from it: the ledger stops first, then its servers.
    """
    ids = (os.getpid(), int(death_signal), account.uid, account.gid)
    start = [sys.executable, "-I", "-S", launcher.__file__, *map(str, ids), *map(str, command)]
    with open(os.open(log.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        running = subprocess.Popen(  # noqa: S603 - our own words, and no shell
            start,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=given or subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return ServerProcess(running, log)


def processes_in(folder: Path, program: str) -> list[int]:
    """The live processes of `program` that work in `folder`: what an owner that was killed left.

    Found by name and working folder, never by a pid in a file, which may be another's by now.
    Linux alone tells; elsewhere the list is empty.
    """
    return [
        pid
        for pid in _processes()
        if _read(f"/proc/{pid}/comm").strip() == program and _works_in(pid, folder)
    ]


def children_of(pid: int) -> list[int]:
    """The processes that `pid` made, on Linux; elsewhere empty, where Postgres' children notice by
    themselves that their parent is gone."""
    return [child for child in _processes() if _status(child)[1:2] == [str(pid)]]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _moves(pid: int) -> bool:
    """Whether a process that was told to stop has not done so yet; elsewhere than on Linux nobody tells."""
    return _status(pid)[:1] not in ([], ["T"], ["t"], ["Z"], ["X"])


def is_alive(pid: int) -> bool:
    """Whether `pid` still runs; one that ended and was not yet waited for does not."""
    return _status(pid)[:1] not in ([], ["Z"], ["X"])


def _status(pid: int) -> list[str]:
    """State, parent and what follows in /proc/pid/stat; empty for a process that is gone.

    The name before them is in parentheses and may hold any character: the last one closes. proc(5).
    """
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def lists_processes() -> bool:
    """Whether this system shows every process and its working folder: Linux does."""
    return sys.platform == "linux"


def _processes() -> list[int]:
    if not lists_processes():
        return []
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
