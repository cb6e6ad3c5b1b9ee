"""Logging in: passwords verified beside the event loop, and how often one may be tried.

Three buckets count what was wrong, and none of them locks anybody out: each gives another try within seconds.

    of one name from one network       OF_PLACE      guessing at somebody from one place
    of one name from everywhere        OF_NAME       .. from many; not from where it has logged in before
    of all names from one network      OF_NETWORK    one password tried at many

One password at a time is verified, in a thread of its own: a flood of logins keeps one core busy, and nobody
waiting but those who log in.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from api.http.limits import Limits
from api.http.problems import NotKnown
from api.http.waiting import held
from api.passwords import Passwords
from ledger.clock import Clock
from ledger.password import prepared
from ledger.people import NAME_LENGTH_MAX, Person
from ledger.postgres.people import PeopleStore

log = structlog.get_logger(__name__)

OF_PLACE = 6
OF_NAME = 30
OF_NETWORK = 30
"""At once, and as many in each minute after."""
PLACES_MAX = 10_000

T = TypeVar("T")


class LoginRefused(NotKnown):
    """Name or password is wrong; which one is not told."""

    code = "login-refused"


class Logins:
    """Verifies and changes passwords of one community's people."""

    def __init__(
        self,
        store: PeopleStore,
        community: str,
        clock: Clock,
        passwords: Passwords | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._community = community
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._thread = ThreadPoolExecutor(1, "password")
        self._turn = asyncio.Semaphore(1)
        limits = limits or Limits()
        self._of_place = limits.limit("place", OF_PLACE, "whoever tries this name from here")
        self._of_name = limits.limit("name", OF_NAME, "whoever tries this name")
        self._of_network = limits.limit("network", OF_NETWORK, "this address")
        self._known: dict[tuple[str, str], None] = {}  # from where somebody has logged in, oldest first

    async def person(self, typed: str, password: str, network: str) -> Person:
        """Whose name and password these are.

        Raises `LoginRefused`, `TooMany`, `Busy`, `StoreUnavailable`.
        """
        name = typed.strip().lower()[:NAME_LENGTH_MAX]
        place = network, name
        self._of_network.take(network)
        self._of_place.take(" ".join(place))
        if place not in self._known:
            self._of_name.take(name)
        person = await self._store.person(self._community, name)
        told = prepared(password)
        found = person.password if person is not None and told is not None else None
        if not await self._aside(lambda: self._passwords.is_right(found, told or "")) or person is None:
            log.info("login refused", network=network)
            raise LoginRefused("name or password is wrong")
        self._succeeded(place)
        return await self._up_to_date(person, told or "")

    async def change(self, person: Person, password: str, keep: bytes) -> None:
        """Another password for somebody who has just shown the present one, and an end to other sessions.

        Raises `LoginRefused` where somebody else was faster, `Busy`, `StoreUnavailable`.
        """
        found = await self._aside(lambda: self._passwords.hashed(password))
        if not await self._store.change_password(person, found, self._clock.now(), keep):
            raise LoginRefused("the password was changed meanwhile")

    def _succeeded(self, place: tuple[str, str]) -> None:
        network, name = place
        self._of_network.give_back(network)
        self._of_place.give_back(" ".join(place))
        if self._known.pop(place, "new") == "new":
            self._of_name.give_back(name)
        if len(self._known) >= PLACES_MAX:
            del self._known[next(iter(self._known))]
        self._known[place] = None

    async def _up_to_date(self, person: Person, password: str) -> Person:
        if not self._passwords.is_outdated(person.password):
            return person
        found = await self._aside(lambda: self._passwords.hashed(password))
        await self._store.rehash(person, found)
        return person._replace(password=found)

    async def _aside(self, work: Callable[[], T]) -> T:
        async with held(self._turn, "logging in"):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
