"""What every embedded server has in common: one folder, one process, one way to start and stop."""

import asyncio
import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from ledger.embedded.account import server_account
from ledger.embedded.errors import FolderInUse, PortInUse, StartFailed
from ledger.embedded.folder import ServerFolder, open_folder
from ledger.embedded.process import (
    POLL_SECONDS,
    Log,
    ServerProcess,
    launch,
    processes_in,
)

LEFTOVER_POLL_SECONDS = 0.02
START_SECONDS_MAX = 120
"""Long, because a database that was killed replays its log before it is ready."""

LEFTOVER_SECONDS_MAX = 60
"""How long a new owner waits for the server of one that was killed to end: a disk that has fallen behind
keeps a process that waits for it alive for many seconds, even after SIGKILL."""


class EmbeddedServer(ABC):
    """A real server in a folder of its own, which lives no longer than the process that uses it.

    Use it as `async with`, or `start` and `stop` it. All calls come from one event loop.
    """

    program_name: ClassVar[str]
    death_signal: ClassVar[signal.Signals]
    """Sent by the kernel when our own process is gone: the server then ends in good order."""
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]
    """What `stop` sends, and how many seconds each signal has before the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log_file = self.folder / "server.log"
        self._owned: ServerFolder | None = None
        self._process: ServerProcess | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        """Whether the server runs: started, not stopped, and not ended by itself."""
        return self._process is not None and self._process.exit_code is None

    @property
    def pid(self) -> int:
        """The server's process id. Raises `RuntimeError` before the first start."""
        if self._process is None:
            raise RuntimeError(f"{self.program_name} has not been started")
        return self._process.pid

    async def start(self) -> None:
        """Start it and return when it is ready; at once if it runs.

        Raises `AccountMissing`, `FolderClosed`, `FolderInUse`, `OtherVersion`, `PortInUse`,
        `ServerMissing` or `StartFailed`; then nothing is left running.
        """
        if self.running:
            return
        self._release()
        self._owned = open_folder(self.folder, server_account(self.folder))
        try:
            await self._outlive_leftovers()
            await self._prepare(self._owned)
            self._process = await self._started(self._owned)
        except BaseException:
            self._release()
            raise

    async def stop(self) -> None:
        """End it in good order, by force if it does not obey; at once if it does not run."""
        if self._process is not None:
            await self._process.end(self.stop_steps if self.running else ())
        self._release()

    async def kill(self) -> None:
        """End it and all its children with SIGKILL, as a power failure would."""
        if self._process is not None:
            await self._process.kill()
        self._release()

    async def restart(self) -> None:
        """Stop and start it; it keeps its ports."""
        await self.stop()
        await self.start()

    @abstractmethod
    async def _prepare(self, owned: ServerFolder) -> None:
        """Bring the folder to where the server can start in it."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """The program and its arguments, without any secret."""

    @abstractmethod
    async def _is_ready(self, process: ServerProcess) -> bool:
        """Whether clients can be served now."""

    @abstractmethod
    def _secrets(self) -> Sequence[str]:
        """What must not be shown of its log."""

    async def _started(self, owned: ServerFolder) -> ServerProcess:
        process = launch(
            self._command(),
            account=owned.account,
            folder=owned.path,
            log=Log(self.log_file),
            death_signal=self.death_signal,
        )
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                while not await self._is_ready(process):
                    if process.exit_code is not None:
                        raise self._failure(f"ended with code {process.exit_code}", process)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            await process.kill()
            raise self._failure(f"was not ready after {START_SECONDS_MAX} s", process) from None
        except BaseException:
            await process.kill()
            raise
        return process

    def _failure(self, what: str, process: ServerProcess) -> StartFailed | PortInUse:
        tail = process.log.tail(self._secrets())
        if "address already in use" in tail.lower():
            return PortInUse(
                f"the port for {self.program_name} is taken",
                where=str(self.folder),
                hint=f"stop the program that has it, or choose another port\n{tail}",
            )
        return StartFailed(
            f"{self.program_name} {what} while starting",
            where=str(self.log_file),
            hint=f"its last words were\n{tail}",
        )

    async def _outlive_leftovers(self) -> None:
        """The lock is ours, so a server still at work here lost its owner and is about to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEFTOVER_SECONDS_MAX):
                while processes_in(self.folder, self.program_name):
                    await asyncio.sleep(LEFTOVER_POLL_SECONDS)
        left = processes_in(self.folder, self.program_name)
        if left:
            raise FolderInUse(
                f"{self.program_name}, process {left[0]}, still works in this folder",
                where=str(self.folder),
                hint="it was not started by a ledger, or hangs: stop it and try again",
            )

    def _release(self) -> None:
        if self._owned is not None:
            self._owned.close()
            self._owned = None
