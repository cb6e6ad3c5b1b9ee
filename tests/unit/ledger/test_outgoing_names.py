"""Names are looked up aside: one that nobody answers for keeps neither others nor the loop waiting."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ledger.outgoing.names import LOOKED_UP_AT_ONCE, Names

PORT = 443


class Resolver:
    """Knows every host; of `silent.*` it says so only once `answers` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host."""
        self.asked.append(host)
        if host.startswith("silent."):
            self.answers.wait(30)
            raise OSError("nobody answers")
        return ["192.0.2.1"]


async def given_up(names: Names, host: str) -> None:
    """Look a host up, and wait no longer than a moment."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await names.look_up(host, PORT)


async def test_a_host_that_nobody_answers_for_takes_one_thread_however_often_it_is_asked_for() -> None:
    resolver = Resolver()
    names = Names(resolver)
    try:
        for _ in range(3 * LOOKED_UP_AT_ONCE):
            await given_up(names, "silent.example")
        assert await names.look_up("other.example", PORT) == ["192.0.2.1"]
        assert resolver.asked == ["silent.example", "other.example"]
    finally:
        resolver.answers.set()


async def test_hosts_that_nobody_answers_for_leave_the_names_of_the_loop_alone() -> None:
    resolver = Resolver()
    names = Names(resolver)
    try:
        for each in range(2 * LOOKED_UP_AT_ONCE):
            await given_up(names, f"silent.{each}.example")
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", PORT)
            assert await asyncio.to_thread(lambda: "done") == "done"
        assert len(resolver.asked) == LOOKED_UP_AT_ONCE
    finally:
        resolver.answers.set()


async def test_a_host_is_asked_for_anew_once_its_look_up_has_ended() -> None:
    resolver = Resolver()
    resolver.answers.set()
    names = Names(resolver)
    for _ in range(2):
        with pytest.raises(OSError, match="nobody answers"):
            await names.look_up("silent.example", PORT)
    assert resolver.asked == ["silent.example"] * 2
