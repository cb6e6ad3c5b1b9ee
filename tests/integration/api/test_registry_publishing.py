"""Operators add buildings and meters, retire meters and begin register epochs over the API: judged, told
ahead, whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.clock import rfc3339
from ledger.embedded import EmbeddedNats
from ledger.events import KeyRevoked
from ledger.registry import OPERATOR
from tests.support.api import V1, Api, api
from tests.support.campus import GATEWAY, MORNING, QUARTER
from tests.support.store import read_book
from tests.support.trading import DAY, HOUR, quarters

REGISTRY = f"{V1}/registry"
NOW = MORNING + DAY
FEEDER = {"feeder": "f-2", "name": "North"}
BUILDING = {"building": "b-9", "feeder": "f-2", "name": "Lab"}
METER = {
    "meter": "m-9", "role": "connection", "building": "b-9", "model": "sdm630", "rated_w": 50_000,
    "reader": GATEWAY,
}  # fmt: skip
STANDING = {**METER, "meter": "m-1", "building": "b-2"}
ALL = {"feeders": [FEEDER], "buildings": [BUILDING], "meters": [METER]}


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await found.site.ledgers_clock.sleep_until(NOW)
        found.backend.clock = found.site.ledgers_clock
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


async def events(served: Api) -> int:
    """How many there are in the stream of the registry."""
    book = await read_book(served.site.store, "campus")
    return book.heads["registry"].sequence


async def listed(served: Api, client: httpx.AsyncClient) -> dict[str, Any]:
    """The registry as the API shows it, once the projections are as far as the book."""
    await served.site.projector.catch_up()
    found: dict[str, Any] = (await client.get(REGISTRY)).json()
    return found


def one(rows: list[dict[str, Any]], key: str, name: str) -> dict[str, Any]:
    (found,) = [row for row in rows if row[key] == name]
    return found


async def test_what_is_new_is_told_ahead_and_written_once_and_as_a_whole(
    served: Api, operator: httpx.AsyncClient
) -> None:
    begun = await events(served)
    dry = await operator.post(REGISTRY, json=ALL, params={"dry_run": True})
    assert (dry.status_code, await events(served)) == (200, begun), dry.text
    changes = dry.json()["changes"]
    assert [each["field"] for each in changes] == ["feeder/f-2", "building/b-9", "meter/m-9", "reader/m-9"]
    assert {each["before"] for each in changes} == {None}
    assert changes[1]["after"] == BUILDING
    assert changes[3]["after"] == {"meter": "m-9", "device": GATEWAY, "since": rfc3339(NOW)}
    done = await operator.post(REGISTRY, json=ALL)
    assert (done.status_code, done.json()) == (201, {"published": True, "changes": changes}), done.text
    assert await events(served) == begun + 4
    again = await operator.post(REGISTRY, json=ALL)
    assert (again.status_code, again.json()) == (200, {"published": False, "changes": []})
    found = await listed(served, operator)
    assert one(found["feeders"], "feeder", "f-2") == FEEDER
    assert one(found["buildings"], "building", "b-9") == BUILDING
    meter = one(found["meters"], "meter", "m-9")
    assert (meter["reader"], meter["since"], meter["until"]) == (GATEWAY, rfc3339(NOW), None)


async def test_what_has_changed_is_told_with_what_it_was(served: Api, operator: httpx.AsyncClient) -> None:
    assert (await operator.post(REGISTRY, json=ALL)).status_code == 201
    begun = await events(served)
    moved = {
        "buildings": [{**BUILDING, "feeder": "f-1"}],
        "meters": [{**METER, "rated_w": 90_000}],
    }
    done = await operator.post(REGISTRY, json=moved)
    assert done.status_code == 201, done.text
    building, meter = done.json()["changes"]
    assert (building["before"]["feeder"], building["after"]["feeder"]) == ("f-2", "f-1")
    assert (meter["before"]["rated_w"], meter["after"]["rated_w"]) == (50_000, 90_000)
    assert meter["before"]["since"] == meter["after"]["since"]
    assert await events(served) == begun + 2


async def test_a_new_meter_can_count_from_before_and_its_reader_with_it(
    served: Api, operator: httpx.AsyncClient
) -> None:
    past = rfc3339(NOW - HOUR)
    done = await operator.post(REGISTRY, json={**ALL, "meters": [{**METER, "since": past}]})
    assert done.status_code == 201, done.text
    assert [each["after"]["since"] for each in done.json()["changes"][2:]] == [past, past]
    again = await operator.post(REGISTRY, json={"meters": [{**METER, "since": past}]})
    assert (again.status_code, again.json()["changes"]) == (200, [])


@pytest.mark.parametrize(
    ("wanted", "status", "code", "where"),
    [
        ({"buildings": [{**BUILDING, "feeder": "f-9"}]}, 409, "contradiction", "f-9"),
        ({"meters": [METER]}, 409, "contradiction", "b-9"),
        ({**ALL, "meters": [{**METER, "reader": "gw-9"}]}, 409, "contradiction", "gw-9"),
        ({**ALL, "meters": [{**METER, "reader": OPERATOR}]}, 409, "contradiction", OPERATOR),
        ({**ALL, "meters": [{**METER, "building": None}]}, 409, "contradiction", "m-9"),
        ({**ALL, "meters": [{**METER, "role": "main"}]}, 409, "contradiction", "m-9"),
        ({**ALL, "meters": [{**METER, "meter": "m-1"}]}, 409, "contradiction", "m-1"),
        ({"meters": [{**STANDING, "since": rfc3339(NOW)}]}, 409, "contradiction", "m-1"),
        ({"meters": [{**STANDING, "read_since": rfc3339(MORNING)}]}, 409, "contradiction", "m-1"),
        ({**ALL, "meters": [{**METER, "role": "sub", "meter": "m-1"}]}, 409, "contradiction", "m-1"),
        ({**ALL, "buildings": [{**BUILDING, "name": "a\x00b"}]}, 422, "bad-input", "buildings[0].name"),
        ({**ALL, "feeders": [{**FEEDER, "name": "\u202eevil"}]}, 422, "bad-input", "feeders[0].name"),
        ({**ALL, "meters": [{**METER, "model": "  "}]}, 422, "bad-input", "meters[0].model"),
        ({**ALL, "meters": [{**METER, "since": rfc3339(NOW + 400 * DAY)}]}, 422, "bad-input",
         "meters[0].since"),
        ({**ALL, "meters": [{**METER, "since": "1999-06-01T00:00:00Z"}]}, 422, "bad-input",
         "meters[0].since"),
        ({"meters": [{**STANDING, "read_since": rfc3339(NOW + 2 * DAY)}]}, 422, "bad-input",
         "meters[0].read_since"),
        ({**ALL, "feeders": [FEEDER, FEEDER]}, 422, "bad-input", "feeders[1]"),
        ({**ALL, "meters": [METER, {**METER, "rated_w": 1}]}, 422, "bad-input", "meters[1]"),
        ({"meters": [{**METER, "reader": None, "read_since": "2026-06-01"}]}, 422, "bad-input",
         "meters[0].read_since"),
        ({**ALL, "meters": [{**METER, "since": "2026-13-01"}]}, 422, "bad-cell", "meters[0].since"),
        ({**ALL, "meters": [{**METER, "since": "9998-01-01T00:00:00Z"}]}, 422, "bad-cell", "meters[0].since"),
        ({"meters": [{**METER, "rated_w": 0}]}, 400, "bad-request", "meters[0].rated_w"),
        ({"meters": [{**METER, "meter": "../m"}]}, 400, "bad-request", "meters[0].meter"),
        ({"meters": [{**METER, "model": ""}]}, 400, "bad-request", "meters[0].model"),
        ({"buildings": [{**BUILDING, "roof": 1}]}, 400, "bad-request", "buildings[0].roof"),
        ({"feeders": [FEEDER] * 101}, 400, "bad-request", "feeders"),
    ],
)  # fmt: skip
async def test_what_the_book_would_not_take_is_refused_and_nothing_is_written(
    served: Api, operator: httpx.AsyncClient, wanted: dict[str, Any], status: int, code: str, where: str
) -> None:
    begun = await events(served)
    for dry_run in (True, False):
        answer = await operator.post(REGISTRY, json=wanted, params={"dry_run": dry_run})
        told = answer.json()
        assert (answer.status_code, told["code"], told.get("where")) == (status, code, where), told
    assert await events(served) == begun


async def test_nobody_else_may(served: Api) -> None:
    for role, building in (("building", "b-1"), ("billing", None), ("auditor", None)):
        async with served.client(role, building) as client:  # type: ignore[arg-type]  # a role
            for path, body in ((REGISTRY, ALL), (f"{REGISTRY}/meters/m-0/retire", {})):
                answer = await client.post(path, json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed"), role


async def test_a_meter_that_is_retired_counts_no_longer_and_stays_retired(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await quarters(served.site, 0, 8)
    path, until = f"{REGISTRY}/meters/m-1/retire", rfc3339(MORNING + HOUR)
    intervals = f"{V1}/buildings/b-2/intervals"
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + 2 * HOUR)}
    await served.site.projector.catch_up()
    assert len((await operator.get(intervals, params=span)).json()["items"]) == 8
    done = await operator.post(path, json={"until": until})
    assert done.status_code == 201, done.text
    assert done.json()["changes"] == [
        {"field": "meter/m-1", "before": None, "after": {"meter": "m-1", "until": until}}
    ]
    assert one((await listed(served, operator))["meters"], "meter", "m-1")["until"] == until
    assert len((await operator.get(intervals, params=span)).json()["items"]) == 4
    for again in ({}, {"until": until}):
        answer = await operator.post(path, json=again)
        assert (answer.status_code, answer.json()["changes"]) == (200, [])
    other = await operator.post(path, json={"until": rfc3339(MORNING + 2 * HOUR)})
    assert (other.status_code, other.json()["code"], other.json()["where"]) == (409, "contradiction", "m-1")
    back = {**METER, "meter": "m-1", "building": "b-2"}
    answer = await operator.post(REGISTRY, json={"meters": [back]})
    assert (answer.status_code, "is retired" in answer.json()["detail"]) == (409, True)
    unknown = await operator.post(f"{REGISTRY}/meters/m-77/retire", json={})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
    early = await operator.post(f"{REGISTRY}/meters/m-2/retire", json={"until": "2020-01-01"})
    assert (early.status_code, early.json()["code"]) == (409, "contradiction")
    earlier = await operator.post(path, json={"until": rfc3339(MORNING + QUARTER)})
    assert earlier.status_code == 201, "what is settled from there on is settled again"
    assert (await operator.post(path, json={"until": until})).status_code == 409, "and not from here on"


async def test_an_end_and_a_beginning_that_are_still_to_come_can_be_moved(
    served: Api, operator: httpx.AsyncClient
) -> None:
    path = f"{REGISTRY}/meters/m-1/retire"
    for until in (NOW + 30 * DAY, NOW + 60 * DAY, NOW + DAY):
        assert (await operator.post(path, json={"until": rfc3339(until)})).status_code == 201
    assert (await operator.post(path, json={})).json()["changes"][0]["after"]["until"] == rfc3339(NOW)
    far = await operator.post(path, json={"until": "2062-06-01"})
    assert (far.status_code, far.json()["where"]) == (422, "until")
    unread = {**METER, "reader": None}
    for since in (NOW + 30 * DAY, NOW + 60 * DAY, NOW - DAY, NOW - 2 * DAY):
        answer = await operator.post(REGISTRY, json={**ALL, "meters": [{**unread, "since": rfc3339(since)}]})
        assert answer.status_code == 201, answer.text
    later = await operator.post(REGISTRY, json={"meters": [{**unread, "since": rfc3339(NOW - DAY)}]})
    assert (later.status_code, later.json()["code"]) == (409, "contradiction")


async def test_a_reader_is_there_before_a_meter_begins_and_no_meter_counts_before_it(
    served: Api, operator: httpx.AsyncClient
) -> None:
    ahead = {**METER, "since": rfc3339(NOW + 30 * DAY)}
    done = await operator.post(REGISTRY, json={**ALL, "meters": [ahead]})
    assert done.json()["changes"][3]["after"]["since"] == rfc3339(NOW)
    sooner = await operator.post(REGISTRY, json={"meters": [{**METER, "since": rfc3339(NOW)}]})
    assert sooner.status_code == 201, sooner.text
    past = await operator.post(REGISTRY, json={"meters": [{**METER, "since": rfc3339(NOW - HOUR)}]})
    assert (past.status_code, past.json()["code"]) == (409, "contradiction")


async def test_a_meter_whose_end_is_planned_can_be_changed_until_then_and_ends_all_the_same(
    served: Api, operator: httpx.AsyncClient
) -> None:
    until = rfc3339(NOW + 30 * DAY)
    assert (await operator.post(REGISTRY, json=ALL)).status_code == 201
    assert (await operator.post(f"{REGISTRY}/meters/m-9/retire", json={"until": until})).status_code == 201
    assert (await operator.post(REGISTRY, json=ALL)).status_code == 200
    done = await operator.post(REGISTRY, json={"meters": [{**METER, "rated_w": 90_000}]})
    assert [each["after"].get("until") for each in done.json()["changes"]] == [None, until]
    assert one((await listed(served, operator))["meters"], "meter", "m-9")["until"] == until


async def test_an_epoch_is_judged_by_all_readings_that_are_in_the_book(
    served: Api, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.registry_desk.PROJECTED_LOOKS", 3)
    await served.site.projector.catch_up()
    await quarters(served.site, 0, 4)
    path = f"{REGISTRY}/meters/m-0/epochs"
    inside = {"reason": "replacement", "since": rfc3339(MORNING + 2 * QUARTER)}
    behind = await operator.post(path, json=inside)
    assert (behind.status_code, behind.json()["code"]) == (503, "store-not-ready")
    await served.site.projector.catch_up()
    assert (await operator.post(path, json=inside)).status_code == 409


async def test_what_is_not_told_stays_as_it_is(served: Api, operator: httpx.AsyncClient) -> None:
    assert (await operator.post(REGISTRY, json=ALL)).status_code == 201
    moved = {"buildings": [{"building": "b-9", "feeder": "f-1"}], "feeders": [{"feeder": "f-2"}]}
    (change,) = (await operator.post(REGISTRY, json=moved)).json()["changes"]
    assert change["after"] == {**BUILDING, "feeder": "f-1"}
    unnamed = {"buildings": [{"building": "b-10", "feeder": "f-1"}]}
    (change,) = (await operator.post(REGISTRY, json=unnamed)).json()["changes"]
    assert change["after"]["name"] == "b-10"


async def test_a_field_that_is_told_twice_is_refused(served: Api, operator: httpx.AsyncClient) -> None:
    begun = await events(served)
    for body in (
        b'{"feeders":[{"feeder":"f-2"}],"feeders":[{"feeder":"f-3"}]}',
        b'{"feeders":[{"feeder":"f-2","f\\u0065eder":"f-3"}]}',
    ):
        answer = await operator.post(REGISTRY, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed"), answer.text
    assert await events(served) == begun
    name = (await operator.post(REGISTRY, json={"feeders": [{"feeder": "North"}]})).json()
    assert (name["where"], name["hint"]) == (
        "feeders[0].feeder", "a name is 1 to 64 of a-z, 0-9, `.`, `_` and `-`",
    )  # fmt: skip


async def test_registers_start_anew_where_the_operator_says_so(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await quarters(served.site, 0, 2)
    await served.site.projector.catch_up()
    path = f"{REGISTRY}/meters/m-0/epochs"
    since = rfc3339(MORNING + 4 * QUARTER)
    begun = await events(served)
    for wrong in (
        {"reason": "rollover"}, {"reason": "rollover", "modulus_wh": 0},
        {"reason": "replacement", "modulus_wh": 10},
        {"reason": "whim"}, {"reason": "ct-change", "since": "soon"},
    ):  # fmt: skip
        answer = await operator.post(path, json=wrong)
        assert answer.status_code in (400, 422), wrong
    assert await events(served) == begun
    done = await operator.post(path, json={"reason": "replacement", "since": since})
    assert done.status_code == 201, done.text
    again = await operator.post(path, json={"reason": "replacement", "since": since})
    assert (again.status_code, again.json()["changes"], await events(served)) == (200, [], begun + 1)
    await served.site.projector.catch_up()
    said = (await operator.get(path)).json()["items"]
    assert said == [{"since": since, "reason": "replacement", "modulus_wh": None}]
    (change,) = done.json()["changes"]
    assert change["field"] == "epoch/m-0"
    assert change["after"] == {"meter": "m-0", "since": since, "reason": "replacement"}
    await served.site.read("m-0", (4, 0, 500), (5, 0, 2_500))
    await served.site.projector.catch_up()
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + 2 * HOUR)}
    found = (await operator.get(f"{V1}/buildings/b-1/intervals", params=span)).json()["items"]
    assert [(each["start"], each["export_wh"]) for each in found] == [
        (rfc3339(MORNING + number * QUARTER), 2_000) for number in (0, 1, 4)
    ]
    for inside in (since, rfc3339(MORNING + QUARTER), rfc3339(NOW - 40 * DAY)):
        answer = await operator.post(path, json={"reason": "ct-change", "since": inside})
        assert (answer.status_code, answer.json()["code"]) == (409, "contradiction"), answer.text
    for body in (
        {"reason": "ct-change", "since": rfc3339(NOW + 2 * DAY)},
        {"reason": "rollover", "since": rfc3339(NOW), "modulus_wh": 2_000},
    ):
        answer = await operator.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-input"), answer.text
    assert await events(served) == begun + 1
    wrong = {"reason": "correction", "since": since}
    unknown = await operator.post(f"{REGISTRY}/meters/m-77/epochs", json=wrong)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


async def test_many_at_once_are_written_one_after_the_other_and_each_once(
    served: Api, operator: httpx.AsyncClient
) -> None:
    begun = await events(served)
    wanted = [{"feeders": [{"feeder": f"f-{number % 4 + 2}"}]} for number in range(12)]
    answers = await asyncio.gather(*(operator.post(REGISTRY, json=each) for each in wanted))
    assert sorted(answer.status_code for answer in answers) == [200] * 8 + [201] * 4
    assert await events(served) == begun + 4


async def test_a_device_whose_key_was_revoked_can_read_nothing(
    served: Api, operator: httpx.AsyncClient
) -> None:
    key = served.site.campus.keys[GATEWAY].public.id
    await served.site.tell(OPERATOR, "registry", KeyRevoked(device=GATEWAY, key=key, reason="lost"))
    refused = await operator.post(REGISTRY, json=ALL)
    assert (refused.status_code, refused.json()["where"]) == (409, GATEWAY)


async def test_energy_over_a_rollover_that_was_taken_for_a_new_beginning_is_counted(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await served.site.read("m-0", (0, 0, 9_000), (1, 0, 9_500))
    await served.site.read("m-0", *((k, 0, 500 * (k - 1)) for k in range(2, 7)))
    await served.site.projector.catch_up()
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + 2 * HOUR)}
    path = f"{V1}/buildings/b-1/intervals"
    assert len((await operator.get(path, params=span)).json()["items"]) == 5
    wrapped = {"reason": "rollover", "since": rfc3339(MORNING + 2 * QUARTER), "modulus_wh": 10_000}
    low = await operator.post(f"{REGISTRY}/meters/m-0/epochs", json={**wrapped, "modulus_wh": 9_500})
    assert (low.status_code, low.json()["where"]) == (422, "modulus_wh")
    done = await operator.post(f"{REGISTRY}/meters/m-0/epochs", json=wrapped)
    assert done.status_code == 201, done.text
    await served.site.projector.catch_up()
    found = (await operator.get(path, params=span)).json()["items"]
    assert [each["export_wh"] for each in found] == [500, 1_000, 500, 500, 500, 500]
