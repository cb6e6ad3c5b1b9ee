"""A head waits for its body, so that both leave in one piece."""

import asyncio
from typing import Any

_LENGTH, _END = b"\r\ncontent-length: ", b"\r\n\r\n"


class Corked(asyncio.Transport):
    """A transport that keeps a head which tells of a body until that comes, or the answer ends. A system call
    for each head would be the most expensive part of a short answer, and wake the client for nothing."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._within = transport
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it, behind what is kept; or keep it."""
        data = bytes(data)
        if not self._held and data.endswith(_END) and _LENGTH in data:
            self._held = data
        else:
            self._send(data)

    def uncork(self) -> None:
        """Send what is kept: nothing comes behind it."""
        self._send(b"")

    def _send(self, data: bytes) -> None:
        pieces, self._held = [each for each in (self._held, data) if each], b""
        if pieces and not self._within.is_closing():
            self._within.writelines(pieces)

    def close(self) -> None:
        """Close when all is sent."""
        self.uncork()
        self._within.close()

    def abort(self) -> None:
        """Close at once."""
        self._held = b""
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
