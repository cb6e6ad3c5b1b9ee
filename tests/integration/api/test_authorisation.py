"""Nobody is told more than they may be: random keys and sessions, which end, are renewed and are shown in odd
ways, ask for every route with names that are theirs, others' or nobody's. What is allowed is written a second
time here, and marks that stand in one building's data are looked for in every answer.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.access import Role, new_key
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned, MeterRead
from ledger.market_events import AgreementProposed, OrderPlaced
from ledger.registry import OPERATOR
from tests.support.api import Api, api
from tests.support.asking import Asker, Route, Told, World
from tests.support.campus import GATEWAY, MORNING, QUARTER
from tests.support.store import migrated
from tests.support.trading import DAY, quarters

ROLES: list[Role] = ["operator", "auditor", "billing", "building", "building", "building"]
BUILDINGS = ["b-1", "b-2", "b-9"]
METERS = {"b-1": "m-0", "b-2": "m-1", "b-9": "m-9"}
REFUSALS = {"not-authenticated", "not-allowed", "cross-site", "two-credentials"}
SAFE = {"GET"}

MARKS = {
    b"mark-in-a-name": {"operator", "auditor", "billing", *BUILDINGS},
    b"MARKINREADINGS01": {"operator", "auditor", "b-9"},
    b"987650000": {"operator", "auditor", "b-9"},
    b"3123457": {"operator", "auditor", "b-9"},
    b"MARKINANORDER001": {"operator", "auditor", "b-9"},
    b"2765431": {"operator", "auditor", "b-9", "b-2"},
}
"""Marks in what b-9 is called, measures, orders and agrees on with b-2, and who may see each."""

ODD = [
    "b-1%00",
    "b-1%20",
    "%62-1",
    "B-1",
    "b-1.",
    "b-1%2f..%2fb-9",
    "..%2fb-9",
    "*",
    "%ff",
    "b-9%0a",
    "b-1;b-9",
]
VALUES: Mapping[str, list[str]] = {
    "community": ["campus"] * 9 + ["elsewhere"],
    "building": [*BUILDINGS * 2, "nowhere", *ODD],
    "meter": ["m-0", "m-1", "m-9", "m-none", "m-9%00"],
    "order": ["mine", "theirs", "none"],
    "agreement": ["mine", "theirs", "none"],
    "month": ["2026-06"],
    "number": ["1"],
    "digest": ["ab" * 32],
    "device": [GATEWAY, "nobody", "operator"],
    "name": ["registry", "settlement", "none"],
    "kind": ["meter", "building"],
    "subject": ["m-9", "b-9", "m-0", "none"],
    "position": ["0", "5"],
    "path": ["0/000.p/9", "entries/000.p/9"],
    "code": ["fork"],
}
QUERIES = [
    *[""] * 8, "limit=1000", "begin=2026-06-01T00:00:00Z&until=2026-06-02T00:00:00Z", "after=0.0",
    "stream=meter/m-9&sequence=1", "stream=building/b-9&sequence=1", "stream=meter/m-none&sequence=1",
    "proposer=b-9", "month=2026-06",
]  # fmt: skip
SHOWN = ["well"] * 5 + ["no CSRF token", "another's CSRF token", "cross-site", "with a key as well"]
STEPS = 40
HAPPENINGS = [
    *["is asked"] * 6, *["is asked of a building"] * 6, "guesses", "ends", "is renewed",
]  # fmt: skip
RARELY = 0.15


def allowed(asker: Asker, route: Route, names: Mapping[str, str], shown: str) -> str:
    """What the rules say of a request: `refused`, `absent` or `open`; a second time, and on its own."""
    is_in_session = asker.is_person and asker.counts
    if asker.is_person and shown == "with a key as well":
        return "refused"
    if asker.token and not asker.is_person and not asker.counts:
        return "refused"
    if route.method not in SAFE and is_in_session and shown != "well":
        return "refused"
    if names.get("community", "campus") != "campus":
        return "absent"
    if "public" in route.may:
        return "open"
    if not asker.counts or asker.role is None or not asker.is_ours:
        return "refused"
    if route.may & {"log", "self", "members"}:
        return "open"
    if asker.role == "building":
        is_own = unquote(names.get("building", "")) == asker.building
        return "open" if "building" in route.may and is_own else "refused"
    return "open" if asker.role in route.may else "refused"


LOG_OUT = Route("DELETE", "/v1/communities/campus/session", frozenset())


class Life:
    """Keys and sessions come and go, and ask in between."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._askers = [Asker()]

    def live(self) -> None:
        """Some come, and then one thing happens after the other."""
        for role in self._chance.choices(ROLES, k=6):
            self._askers.append(self.come(role))
        for _ in range(STEPS):
            asker = self._chance.choice(self._askers)
            match self._chance.choice(HAPPENINGS):
                case "is asked":
                    self.ask(asker, self._world.routes)
                case "is asked of a building":
                    self.ask(asker, [route for route in self._world.routes if "{building}" in route.path])
                case "guesses":
                    self.guess(asker)
                case "ends":
                    self.end(asker)
                case "is renewed":
                    self.renew(asker, at_once=self._chance.random() < 1 / 2)

    def come(self, role: Role) -> Asker:
        """Somebody with a key, which may have expired, or with a session."""
        building, is_person = self._chance.choice(BUILDINGS), self._chance.random() < 1 / 2
        is_ours, is_over = self._chance.random() >= RARELY, self._chance.random() < RARELY
        asker = Asker(role=role, building=building if role == "building" else None, is_ours=is_ours)
        if is_person:
            self._world.do(self._world.begin_session(asker))
        else:
            asker.counts = not is_over
            until = SystemClock().now() + (-DAY if is_over else DAY)
            self._world.do(self._world.add_key(asker, until))
        return asker

    def guess(self, asker: Asker) -> None:
        """Somebody alters a token that counts."""
        token = asker.token[:-4] + "AAAA" if asker.token else new_key().token
        self._askers.append(Asker(token, "operator", "b-9", is_person=asker.is_person, counts=False))

    def end(self, asker: Asker) -> None:
        """A key is revoked; a person ends or logs out."""
        if not (asker.handle and asker.counts):
            return
        asker.counts = False
        backend, community = self._world.found.backend, "campus" if asker.is_ours else "elsewhere"
        if asker.is_person and asker.is_ours and self._chance.random() < 1 / 2:
            assert self._world.ask(asker, LOG_OUT, LOG_OUT.path, "", "well").status == 204
            return
        store = backend.people if asker.is_person else backend.access
        assert self._world.do(store.end(community, asker.handle, SystemClock().now()))

    def renew(self, asker: Asker, *, at_once: bool) -> None:
        """Another key takes a key's place, which goes on to count for a while or not."""
        if asker.role is None or asker.is_person or not (asker.counts and asker.is_ours):
            return
        now = SystemClock().now()
        renewed = Asker(role=asker.role, building=asker.building)
        self._world.do(self._world.add_key(renewed, now + DAY))
        ended = now if at_once else now + timedelta(hours=1)
        assert self._world.do(self._world.found.backend.access.end("campus", asker.handle, ended))
        asker.counts = not at_once
        self._askers.append(renewed)

    def ask(self, asker: Asker, routes: Sequence[Route]) -> None:
        """The answer is what the rules say, shows no mark that is not for who asks, and is the same for what
        is another's as for what is nobody's."""
        route = self._chance.choice(routes)
        query, shown = route.fitting(self._chance.choice(QUERIES)), self._chance.choice(SHOWN)
        words = [part.split("}")[0] for part in route.path.split("{")[1:]]
        names = {word: self._chance.choice(VALUES.get(word, ["x-1"])) for word in words}
        if asker.building and "building" in names and self._chance.random() < 1 / 2:
            names["building"] = asker.building
        path = filled(route.path, names)
        if (route.method, route.path.endswith("/session")) == ("DELETE", True) and asker.is_person:
            return  # `end` does that
        told = self._world.ask(asker, route, path, query, shown)
        status, code = told.status, told.problem.get("code", "")
        what = f"{asker}: {route.method} {path}?{query}, shown {shown}: {status} {code}"
        assert status < 500 or code == "", what
        assert status < 500 or status == 503, what
        match allowed(asker, route, names, shown):
            case "refused" if not is_elsewhere(names):
                assert status in (401, 403), what
                assert code in REFUSALS, what
            case "refused" | "absent":
                assert status in (401, 403, 404), what
            case "open" if not route.may & {"log", "public"}:
                assert code not in REFUSALS, what
        seen = [mark for mark, who in MARKS.items() if mark in told.content and asker.sees not in who]
        assert not seen, f"{what}: {seen}"
        self.check_twin(asker, route, names, query, shown, shape_of(told, names))

    def check_twin(
        self, asker: Asker, route: Route, names: Mapping[str, str], query: str, shown: str, first: Any
    ) -> None:
        """Ask the same of what is nobody's, where something of others was asked for."""
        if asker.role not in ("building", None) and asker.counts:
            return
        own = asker.building if asker.counts and asker.is_ours else None
        foreign = {name: "nowhere" for name in BUILDINGS if name != own}
        foreign |= {meter: "m-none" for building, meter in METERS.items() if building != own}
        is_party = own == "b-9" or (own == "b-2" and "agreement" in names)
        foreign |= {} if is_party else {"theirs": "none"}
        foreign |= {"mine": "none"} if own != "b-1" else {}
        twin = {word: foreign.get(value, value) for word, value in names.items()}
        if twin == dict(names) or "{device}" in route.path:
            return
        second = shape_of(self._world.ask(asker, route, filled(route.path, twin), query, shown), twin)
        assert first == second, f"{asker}: {route.method} {route.path} {names} {query}"


def filled(path: str, names: Mapping[str, str]) -> str:
    for word, value in names.items():
        path = path.replace(f"{{{word}}}", value if "%" in value else quote(value, safe="/;*"))
    return path


def is_elsewhere(names: Mapping[str, str]) -> bool:
    """Whether a name leads past the route that it was filled into."""
    return any("/" in unquote(value) for word, value in names.items() if word != "path")


def shape_of(told: Told, names: Mapping[str, str]) -> Any:
    """What an answer is alike in, whatever was asked for: status and problem, but for its request's id, and
    whether the place that it names is one that was asked for."""
    alike = {name: value for name, value in told.problem.items() if name not in ("instance", "where")}
    is_asked = told.problem.get("where", "") in {unquote(value)[:80] for value in names.values()}
    return told.status, alike, is_asked


@pytest.fixture(scope="module")
async def served(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("authorisation")
    await migrated(dsn)
    limits = {"requests_a_minute": 10_000_000, "requests_a_minute_without_key": 10_000_000}
    with pytest.MonkeyPatch.context() as patch:
        for module in ("principal", "sessions"):
            patch.setattr(f"api.http.{module}.REMEMBERED_SECONDS", 0)  # what ends, ends at once
        folder = tmp_path_factory.mktemp("api")
        async with api(dsn, nats_server, folder, listeners_a_key=20_000, **limits) as found:
            await marked(found)
            yield found


async def marked(found: Api) -> None:
    """A day with trades of three buildings, and b-9 with marks in all that it has."""
    site, since = found.site, MORNING - DAY
    await site.tell(
        OPERATOR, "registry",
        BuildingAdded(building="b-9", feeder="f-1", name="mark-in-a-name"),
        MeterAdded(meter="m-9", role="connection", model="x", rated_w=69_000, since=since, building="b-9"),
        MeterAssigned(meter="m-9", device=GATEWAY, since=since),
    )  # fmt: skip
    far: dict[str, Any] = {"begin": MORNING + 4_000 * DAY, "until": MORNING + 4_001 * DAY}
    salt = "MARKINANORDER001"
    theirs = OrderPlaced(order="theirs", side="buy", limit_micro_per_kwh=3_123_457, salt=salt, **far)
    agreed = AgreementProposed(
        agreement="theirs", side="sell", partner="b-2", price_micro_per_kwh=2_765_431, salt=salt, **far
    )
    await site.tell(OPERATOR, "building/b-9", theirs, agreed)
    mine = OrderPlaced(order="mine", side="sell", limit_micro_per_kwh=3_000_000, salt="A" * 16, **far)
    await site.tell(OPERATOR, "building/b-1", mine)
    await quarters(site, 0, 4)
    measured = [
        MeterRead(
            import_wh=987_650_000 + 500 * quarter, export_wh=0, measured_at=MORNING + quarter * QUARTER,
            quality="measured", salt="MARKINREADINGS01",
        )
        for quarter in range(5)
    ]  # fmt: skip
    await site.tell(GATEWAY, "meter/m-9", *measured)
    await site.clock.sleep_until(MORNING + DAY)
    await site.settle()
    await site.projector.catch_up()


@pytest.mark.parametrize(
    "examples", [50, pytest.param(2_000, marks=[pytest.mark.soak, pytest.mark.timeout(7_200)])]
)
async def test_nobody_is_told_more_than_they_may_be_whatever_they_ask(served: Api, examples: int) -> None:
    world = World(served, asyncio.get_running_loop())
    world.key = await served.token("operator")
    with world.http:
        await asyncio.to_thread(lives, world, examples)
        assert all(world.answers[role] > 5 for role in ROLES), "all were answered something"


def lives(world: World, examples: int) -> None:
    """So many sequences of keys, sessions and requests."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=examples < 100,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=True))
    def holds(chance: Random) -> None:
        Life(world, chance).live()

    holds()


@pytest.mark.parametrize(
    ("mark", "path"),
    [
        (b"mark-in-a-name", "registry"),
        (b"MARKINREADINGS01", "streams/meter/m-9/entries"),
        (b"987650000", "buildings/b-9/meters/m-9/chain"),
        (b"3123457", "buildings/b-9/orders/theirs"),
        (b"MARKINANORDER001", "streams/building/b-9/entries"),
        (b"2765431", "buildings/b-2/agreements/theirs?proposer=b-9"),
    ],
)
async def test_the_marks_are_there_for_whom_they_are_for(served: Api, mark: bytes, path: str) -> None:
    async with served.client("operator") as client:
        assert mark in (await client.get(f"/v1/communities/campus/{path}")).content
