"""The guard: what a handler says decides, and what it does not say is refused."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.http import guard
from api.http.guard import ALL_KEYS, LOG, MEMBERS, OWN, PUBLIC, Guarding
from api.http.principal import Principal
from api.http.problems import NotAllowed, NotKnown, NotThere
from ledger.access import ROLES, Role

PASSES = None


async def asked(
    may: Any, who: Principal | None, *, public_log: bool = False, community: str = "campus", **path: str
) -> type[Exception] | None:
    """What the guard raises."""
    backend = SimpleNamespace(community="campus", settings=SimpleNamespace(public_log=public_log))
    scope = {
        "user": who, "path_params": {"community": community, **path},
        "route_handler": SimpleNamespace(opt={} if may is None else {"may": may}),
    }  # fmt: skip
    passed: list[object] = []

    async def handler(scope: object, receive: object, send: object) -> None:
        passed.append(scope)

    guarding = Guarding(cast(Any, backend))
    try:
        await guarding.handle(cast(Any, scope), cast(Any, None), cast(Any, None), cast(Any, handler))
        assert passed == [scope]
    except Exception as error:
        return type(error)
    return PASSES


def key(role: Role, building: str | None = None, community: str = "campus") -> Principal:
    return Principal("p", community, role, building)


@pytest.mark.parametrize("role", ROLES)
async def test_a_handler_that_says_nothing_answers_nobody(role: Role) -> None:
    assert await asked(None, key(role, "b-1")) is NotAllowed
    assert await asked(frozenset(), key(role, "b-1")) is NotAllowed
    assert await asked(None, None) is NotKnown


async def test_everybody_may_ask_for_what_is_public() -> None:
    assert await asked(PUBLIC, None) is PASSES
    assert await asked(PUBLIC, key("auditor", community="elsewhere")) is PASSES


async def test_the_log_is_for_everybody_or_for_every_key_of_the_community() -> None:
    assert await asked(LOG, None) is NotKnown
    assert await asked(LOG, None, public_log=True) is PASSES
    assert await asked(LOG, key("building", "b-1")) is PASSES
    assert await asked(LOG, key("operator", community="elsewhere")) is NotAllowed


async def test_what_all_have_in_common_is_for_every_key_and_a_building_reads_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners: list[tuple[str, str]] = []
    monkeypatch.setattr(guard, "read_for", lambda *owner: owners.append(owner))
    for role in ROLES:
        assert await asked(MEMBERS, key(role, "b-1" if role == "building" else None)) is PASSES
    assert owners == [("campus", "b-1")]
    assert await asked(MEMBERS, None) is NotKnown
    assert await asked(MEMBERS, None, public_log=True) is NotKnown
    assert await asked(MEMBERS, key("building", "b-1", community="elsewhere")) is NotAllowed


async def test_a_building_may_where_the_path_names_it() -> None:
    may = OWN | {"operator"}
    assert await asked(may, key("building", "b-1"), building="b-1") is PASSES
    assert await asked(may, key("building", "b-1"), building="b-2") is NotAllowed
    assert await asked(may, key("building", "b-1")) is NotAllowed, "a path that names none is not its own"
    assert await asked(may, key("operator"), building="b-2") is PASSES
    assert await asked(may, key("auditor"), building="b-1") is NotAllowed
    assert await asked(ALL_KEYS, None, building="b-1") is NotKnown


async def test_another_communitys_paths_are_not_there() -> None:
    for who in (None, key("operator"), key("operator", community="elsewhere")):
        assert await asked(PUBLIC, who, community="elsewhere") is NotThere
