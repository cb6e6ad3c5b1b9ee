"""A head waits for its body, so that both leave in one piece."""

import asyncio
from typing import Any


class Corked(asyncio.Transport):
    """A transport that keeps what is written until more is, or until the loop goes on. A system call for each
    head would be the most expensive part of a short answer, and it would wake the client for nothing."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._within = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it with what comes next, or when the loop goes on."""
        self._held.append(bytes(data))
        if len(self._held) > 1:
            self._flush()
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        held, self._held = self._held, []
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
