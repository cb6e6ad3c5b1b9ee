"""Who may ask for what. Every handler says it, in its decorator; one that says nothing answers nobody.

    @get("/intervals", may=OWN | {"operator"})

`may` names roles. A building may where the path names its own building and nowhere else, `OWN`; who may
everything of the community needs no building. `PUBLIC` is everybody; `LOG` is everybody where the operator
allows it, and everybody known to the community elsewhere. `SELF` is everybody known, about themselves, and
`MEMBERS` everybody known, about what all have in common: a building reads with it what is not its own alone,
so such a handler asks for `pool.whole`.
"""

from collections.abc import Set as AbstractSet
from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from api.http.backend import Backend
from api.http.layer import Layer
from api.http.principal import Principal
from api.http.problems import NotAllowed, NotKnown, NotThere
from ledger.access import ROLES
from ledger.postgres.pool import read_for

PUBLIC: AbstractSet[str] = frozenset({"public"})
LOG: AbstractSet[str] = frozenset({"log"})
OWN: AbstractSet[str] = frozenset({"building"})
SELF: AbstractSet[str] = frozenset({"self"})
MEMBERS: AbstractSet[str] = frozenset({"members"})
ALL_KEYS: AbstractSet[str] = frozenset(ROLES)

WHO: dict[str, str] = {
    "public": "everybody, without a key",
    "log": "everybody where the operator has made the log public, elsewhere whoever has a key or a session",
    "self": "whoever has a key or a session",
    "members": "whoever has a key or a session, also every building",
    "operator": "the operator",
    "billing": "billing",
    "auditor": "auditors",
    "building": "a building for itself",
}
"""What `may` names, in words."""


def who_may(may: AbstractSet[str]) -> str:
    """A sentence for people on who may ask."""
    *others, last = [words for name, words in WHO.items() if name in may]
    return f"For {', '.join(others)} and {last}." if others else f"For {last}."


class Guarding(Layer):
    """Passes on what may be asked, before its body is read; a building reads for itself alone from
    then on. The library's own guards are each given a copy of the handler, for every request.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass a request on. Raises `NotKnown`, `NotAllowed`, `NotThere`."""
        may: AbstractSet[str] = scope["route_handler"].opt.get("may", frozenset())
        self._check(may, cast(Principal | None, scope.get("user")), scope["path_params"])
        await next_app(scope, receive, send)

    def _check(self, may: AbstractSet[str], principal: Principal | None, named: dict[str, Any]) -> None:
        backend, community = self._backend, named.get("community")
        if community is not None and community != backend.community:
            raise NotThere("there is no such community here", where=str(community)[:80])
        if may & PUBLIC or (may & LOG and backend.settings.public_log):
            return
        if principal is None:
            raise NotKnown(
                "this needs a key, or a session", hint="Authorization: Bearer PREFIX.SECRET, or log in"
            )
        if principal.community != backend.community:
            raise NotAllowed("who asks is of another community")
        if may & (LOG | SELF):
            return
        if may & MEMBERS:
            if principal.role == "building" and principal.building is not None:
                read_for(principal.community, principal.building)
            return
        if principal.role not in may:
            raise NotAllowed(f"the role {principal.role} may not do this")
        if principal.role != "building":
            return
        building = named.get("building")
        if principal.building is None or building != principal.building:
            raise NotAllowed("this is another building's", where=str(building)[:80])
        read_for(principal.community, principal.building)
