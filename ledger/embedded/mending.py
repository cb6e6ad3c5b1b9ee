"""Restarts a nats-server that stores nothing any more although its disk has room.

A write that failed, on a full disk above all, ends all storing of its stream for as long as the server runs,
also when there is room again. What it had acknowledged is on the disk, and is there after a restart. Restarts
come ten seconds after one another at first, and twice as far apart with each that did not help, up to five
minutes; each is told in the log.
"""

import shutil
from pathlib import Path

import structlog

from ledger.clock import monotonic_seconds
from ledger.embedded.nats import EmbeddedNats

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5
PAUSE_SECONDS_MIN = 10
PAUSE_SECONDS_MAX = 300
ROOM_BYTES_MIN = 16 * 2**20
"""With less free than that a server has no room to start with: its next writes would fail again."""


class Mender:
    """Looks after one server, however often it is asked to."""

    def __init__(self, nats: EmbeddedNats) -> None:
        self._nats = nats
        self._look_at: float = 0
        self._restart_at: float = 0
        self._pause_seconds = PAUSE_SECONDS_MIN
        self._told = ""
        self._was_unwell = False

    async def look(self) -> None:
        """See whether it stores, if it is time to, and restart it if that helps. Raises as `restart` does."""
        now = monotonic_seconds()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        said, before = await self._nats.unwell(), self._was_unwell
        self._was_unwell = bool(said)
        if not said:
            self._well(now)
        elif not before:
            return  # a server says so of a consumer that is just being made, too: looked at again first
        elif not has_room(self._nats.folder):
            self._tell("no room", said)
        elif now >= self._restart_at:
            await self._restart(said)

    def _well(self, now: float) -> None:
        if self._told:
            log.info("jetstream stores again")
            self._told = ""
        if now >= self._restart_at:
            self._pause_seconds = PAUSE_SECONDS_MIN

    def _tell(self, why: str, said: str) -> None:
        if self._told != why:
            hint = f"make room under {self._nats.folder}: then it is restarted"
            log.error("jetstream stores nothing: its disk is full", detail=said, hint=hint)
        self._told = why

    async def _restart(self, said: str) -> None:
        self._told, self._was_unwell = "restarted", False
        log.error(
            "jetstream stores nothing though its disk has room: nats-server is restarted",
            detail=said, next_seconds=self._pause_seconds,
        )  # fmt: skip
        self._restart_at = monotonic_seconds() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, PAUSE_SECONDS_MAX)
        await self._nats.restart()


def has_room(folder: Path) -> bool:
    """Whether a server can be expected to start and to work in `folder`."""
    return shutil.disk_usage(folder).free >= ROOM_BYTES_MIN
