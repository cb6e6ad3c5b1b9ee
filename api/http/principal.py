"""Who asks: found by the key that a request shows, and what that may see."""

from dataclasses import dataclass

from ledger.access import AccessKey, Role, parts
from ledger.clock import Clock, monotonic_seconds
from ledger.postgres.access import AccessStore

REMEMBERED_SECONDS = 5.0
"""For so long a key that was looked up is not looked up again: so soon at the latest a revocation counts."""
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a role in a community; `building` is theirs, if the role is that of a building.

    `prefix` names them in the access log: the prefix of a key, or a person's id. `person` is the name of one
    who has logged in.
    """

    prefix: str
    community: str
    role: Role
    building: str | None = None
    person: str | None = None


class Keys:
    """The keys of the API, remembered for a moment; what is not there is not remembered."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._found: dict[str, tuple[float, AccessKey]] = {}

    def remembered(self, token: str) -> Principal | None:
        """Who shows a token that was looked up a moment ago; none where the store has to be asked."""
        split = parts(token)
        found = self._found.get(split[0]) if split else None
        if split is None or found is None or monotonic_seconds() - found[0] >= REMEMBERED_SECONDS:
            return None
        return self._principal(found[1], split[1])

    def remembers(self, token: str) -> bool:
        """Whether a token opened something before. That it still does is for `principal` to say."""
        split = parts(token)
        found = self._found.get(split[0]) if split else None
        return split is not None and found is not None and found[1].opens(split[1])

    async def principal(self, token: str) -> Principal | None:
        """Who shows a token; none for one that opens nothing. Raises `StoreUnavailable`."""
        split = parts(token)
        if split is None:
            return None
        prefix, secret = split
        key = await self._key(prefix)
        return self._principal(key, secret) if key is not None else None

    def _principal(self, key: AccessKey, secret: str) -> Principal | None:
        if not key.opens(secret) or not key.counts(self._clock.now()):
            return None
        return Principal(key.prefix, key.community, key.role, key.building)

    async def _key(self, prefix: str) -> AccessKey | None:
        now = monotonic_seconds()
        found = self._found.get(prefix)
        if found is not None and now - found[0] < REMEMBERED_SECONDS:
            return found[1]
        key = await self._store.key(prefix)
        if key is None:
            self._found.pop(prefix, None)
            return None
        if len(self._found) >= REMEMBERED_MAX:
            self._found.clear()
        self._found[prefix] = now, key
        return key
