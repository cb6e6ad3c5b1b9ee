"""The names of hosts outside, looked up on threads of their own.

A look-up is no request that can be broken off: where nobody answers for a name it takes its thread for as
long as the machine's resolver is patient. So these wait for one another and for nobody else - the threads of
the loop are left to the database and the bus -, and a host that is asked for again while its look-up is under
way is not looked up twice: it never takes more than one thread.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

LOOKED_UP_AT_ONCE = 8

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host; raises `OSError` where it has none."""
Resolve = Callable[[str, int], Sequence[str]]
"""The same, on a thread that it takes for as long as it lasts."""


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the machine knows them. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Names:
    """The look-ups of one who asks."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._threads = ThreadPoolExecutor(LOOKED_UP_AT_ONCE, "names")
        self._under_way: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host. Raises `OSError`."""
        asked = host, port
        found = self._under_way.get(asked)
        if found is None:
            loop = asyncio.get_running_loop()
            found = loop.run_in_executor(self._threads, self._resolve, host, port)
            self._under_way[asked] = found
            found.add_done_callback(lambda done: self._ended(asked, done))
        return await asyncio.shield(found)  # who is not patient leaves it to the others

    def _ended(self, asked: tuple[str, int], done: "asyncio.Future[Sequence[str]]") -> None:
        del self._under_way[asked]
        if not done.cancelled():
            done.exception()  # looked at, where nobody waits for it any more
