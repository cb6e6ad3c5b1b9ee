"""Who may ask for what. Every handler says it, in its decorator; one that says nothing answers nobody.

    @get("/intervals", may=OWN | {"operator"})

`may` names roles. A building may where the path names its own building and nowhere else, `OWN`; who may
everything of the community needs no building. `PUBLIC` is everybody; `LOG` is everybody where the operator
allows it, and everybody known to the community elsewhere. `SELF` is everybody known, about themselves.
"""

from collections.abc import Set as AbstractSet
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.http.backend import Backend
from api.http.principal import Principal
from api.http.problems import NotAllowed, NotKnown, NotThere
from ledger.access import ROLES
from ledger.postgres.pool import read_for

PUBLIC: AbstractSet[str] = frozenset({"public"})
LOG: AbstractSet[str] = frozenset({"log"})
OWN: AbstractSet[str] = frozenset({"building"})
SELF: AbstractSet[str] = frozenset({"self"})
ALL_KEYS: AbstractSet[str] = frozenset(ROLES)

Connection = ASGIConnection[Any, Any, Any, Any]


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Return if who asks may; a building's request reads for that building alone from then on.

    Raises `NotKnown`, `NotAllowed`, `NotThere`.
    """
    backend: Backend = connection.app.state.backend
    may: AbstractSet[str] = handler.opt.get("may", frozenset())
    principal: Principal | None = connection.scope.get("user")
    community = connection.path_params.get("community")
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
    if principal.role not in may:
        raise NotAllowed(f"the role {principal.role} may not do this")
    building = connection.path_params.get("building")
    if principal.role != "building":
        return
    if principal.building is None or building != principal.building:
        raise NotAllowed("this is another building's", where=str(building)[:80])
    read_for(principal.community, principal.building)
