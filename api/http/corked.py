"""What is written in one step of the loop leaves in one piece: the head of an answer with its body."""

import asyncio
from typing import Any

HELD_BYTES_MAX = 64 * 1024
"""Whoever writes without end in one step is not held back for longer than this."""


class Corked(asyncio.Transport):
    """A transport that writes at the end of the step. A system call for each head would be the most expensive
    part of a short answer, and it would wake the client for nothing."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._within = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it, with all else that is written until the loop goes on."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(bytes(data))
        self._size += len(data)
        if self._size > HELD_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._within.is_closing():
            self._within.writelines(held)

    def close(self) -> None:
        """Close when all is sent."""
        self._flush()
        self._within.close()

    def abort(self) -> None:
        """Close at once."""
        self._held.clear()
        self._within.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._within.is_closing()

    def pause_reading(self) -> None:
        """Take no more in."""
        self._within.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._within.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport tells of itself."""
        return self._within.get_extra_info(name, default)
