"""People's sessions: who works in one, and that what it asks comes from a page of ours."""

import asyncio

import structlog
from litestar.enums import ScopeType
from litestar.types import Scope

from api.http.cookies import is_same_origin
from api.http.principal import REMEMBERED_MAX, REMEMBERED_SECONDS, Principal
from api.http.problems import NotAllowed
from api.http.scopes import header
from ledger.clock import Clock, monotonic_seconds
from ledger.errors import LedgerError
from ledger.people import SEEN_AFTER, PersonSession, is_csrf_token, session_digest
from ledger.postgres.people import PeopleStore

log = structlog.get_logger(__name__)

CSRF_HEADER = b"x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FORGET_EVERY_SECONDS = 600.0


class CrossSite(NotAllowed):
    """A request in a person's session that does not show that it comes from a page of this server."""

    code = "cross-site"


class Sessions:
    """The sessions of the API, remembered for a moment; what is not there is not remembered."""

    def __init__(self, store: PeopleStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._found: dict[bytes, tuple[float, PersonSession]] = {}

    def remembers(self, token: str) -> bool:
        """Whether a token opened something before. That it still does is for `session` to say."""
        return session_digest(token) in self._found

    async def session(self, token: str) -> PersonSession | None:
        """The session of a token, which is in use now; none where it counts no more.

        Raises `StoreUnavailable`.
        """
        digest = session_digest(token)
        found = await self._session(digest) if digest is not None else None
        return found if found is not None and found.counts(self._clock.now()) else None

    def forget(self, digest: bytes) -> None:
        """Ask the store for a session again: it has ended."""
        self._found.pop(digest, None)

    def forget_person(self, person: str) -> None:
        """The same for all sessions of somebody, by id."""
        for digest in [digest for digest, (_, each) in self._found.items() if each.person == person]:
            del self._found[digest]

    async def _session(self, digest: bytes) -> PersonSession | None:
        moment, now = monotonic_seconds(), self._clock.now()
        remembered = self._found.get(digest)
        if remembered is not None and moment - remembered[0] < REMEMBERED_SECONDS:
            return remembered[1]
        found = await self._store.session(digest)
        if found is None:
            self._found.pop(digest, None)
            return None
        if found.counts(now) and now - found.seen_at >= SEEN_AFTER:
            await self._store.seen(digest, now)
            found = found._replace(seen_at=now)
        if len(self._found) >= REMEMBERED_MAX:
            self._found.clear()
        self._found[digest] = moment, found
        return found

    async def keep_forgetting(self, stop: asyncio.Event) -> None:
        """Forget sessions that have come to their end, until `stop` is set."""
        while not stop.is_set():
            try:
                await self._store.forget(self._clock.now())
            except LedgerError as error:
                log.warning("old sessions stay for now", code=error.code)
            except (
                Exception
            ) as error:  # nobody waits for this task: a failure of our own would end it unheard
                log.error("old sessions stay for now", exc_info=error)
            try:
                async with asyncio.timeout(FORGET_EVERY_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass


def principal_of(session: PersonSession) -> Principal:
    """Who works in a session."""
    return Principal(session.person, session.community, session.role, session.building, session.name)


def check_own_page(scope: Scope, token: str | None) -> None:
    """Return if a request may change something: it shows its session's CSRF token, where it has one, and no
    other site's page has sent it. A WebSocket, which can show no token, must be opened by a page of ours.

    Raises `CrossSite`.
    """
    is_socket = scope["type"] == ScopeType.WEBSOCKET
    if not is_socket and str(scope.get("method")) in SAFE:
        return
    if not is_same_origin(scope):
        raise CrossSite("this was sent by a page of another site")
    if token is not None and not is_socket and not is_csrf_token(header(scope, CSRF_HEADER), token):
        raise CrossSite(
            "this lacks the session's token", where="X-CSRF-Token", hint="GET session tells it: `csrf_token`"
        )
