"""What operators look at over the API, and what they decide about what was refused."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.pages import cursor_of
from ledger.bus import BusUnavailable
from ledger.embedded import EmbeddedNats
from ledger.events import AlarmRaised, KeyRevoked
from ledger.opening import enrolment
from ledger.registry import OPERATOR
from tests.support.api import V1, Api, api
from tests.support.billing import four_quarters_of_june
from tests.support.campus import GATEWAY, MORNING, QUARTER, SALT, key, readings
from tests.support.store import read_book


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


@pytest.mark.parametrize("path", ["registry", "alarms", "quarantine", "requests"])
async def test_only_operators_look_behind(served: Api, path: str) -> None:
    for role in ("auditor", "billing"):
        async with served.client(role) as client:  # type: ignore[arg-type]  # both are roles
            answer = await client.get(f"{V1}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    async with served.client("building", "b-1") as client:
        assert (await client.post(f"{V1}/quarantine/{'0' * 64}/release")).status_code == 403


async def test_the_registry_tells_who_reads_which_meter_and_how_far(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await four_quarters_of_june(served.site)
    found = (await operator.get(f"{V1}/registry")).json()
    assert [each["feeder"] for each in found["feeders"]] == ["f-1"]
    assert [each["building"] for each in found["buildings"]] == ["b-1", "b-2", "b-3"]
    main, first = found["meters"][3], found["meters"][0]
    assert (main["meter"], main["role"], main["building"]) == ("m-main", "main", None)
    assert (first["building"], first["reader"], first["newest"]) == ("b-1", GATEWAY, "2026-06-01T00:45:00Z")
    assert {each["device"] for each in found["devices"]} >= {GATEWAY, "operator", "service"}


async def test_the_market_tells_its_rules_and_how_far_tariffs_are_known(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await served.site.projector.catch_up()
    found = (await operator.get(f"{V1}/market")).json()
    (rules,), (tariff,) = found["rules"], found["tariffs"]
    assert (rules["begin"], rules["mechanism"], rules["tariff"]) == (
        "2026-06-01T00:00:00Z", "uniform_price", "flat",
    )  # fmt: skip
    assert rules["operator_fee_per_kwh"] == {"micro": 0, "decimal": "0.000000", "currency": "THB"}
    assert (tariff["tariff"], tariff["problem"]) == ("flat", None)
    assert tariff["known"][0] == {"part": "the tariff", "until": None}


async def test_alarms_come_newest_first_in_pages(served: Api, operator: httpx.AsyncClient) -> None:
    raised = [
        AlarmRaised(alarm="meter-silent", meter="m-0", at=MORNING + k * QUARTER, detail=f"{k}", salt=SALT)
        for k in range(3)
    ]
    await served.site.ledgers_clock.sleep_until(MORNING + 9 * QUARTER)
    await served.site.tell(GATEWAY, f"device/{GATEWAY}", *raised)
    await served.site.projector.catch_up()
    first = (await operator.get(f"{V1}/alarms", params={"limit": 2})).json()
    rest = (await operator.get(f"{V1}/alarms", params={"after": first["next"]})).json()
    assert [each["detail"] for each in [*first["items"], *rest["items"]]] == ["2", "1", "0"]
    assert rest["next"] is None


async def test_the_access_log_tells_who_asked_for_what(served: Api, operator: httpx.AsyncClient) -> None:
    asked = await operator.get(f"{V1}/quarantine")
    async with served.client("auditor") as auditor:
        await auditor.get(f"{V1}/quarantine")
    async with served.client() as nobody:
        await nobody.get(f"{V1}/quarantine")
        await nobody.get("/v1/communities/other/quarantine")
    await asyncio.sleep(1.5)
    first = (await operator.get(f"{V1}/requests", params={"limit": 1})).json()
    rest = (await operator.get(f"{V1}/requests", params={"after": first["next"]})).json()
    found = [*first["items"], *rest["items"]]
    assert [(each["role"], each["status"]) for each in found] == [("auditor", 403), ("operator", 200)]
    assert found[1]["id"] == asked.headers["x-request-id"]
    assert {each["path"] for each in found} == {f"{V1}/quarantine"}
    assert found[1]["key"] == (await served.token("operator")).partition(".")[0]


# --- quarantine ----------------------------------------------------------------------------------------


async def parked(served: Api) -> tuple[str, bytes]:
    """A message of the gateway that waits for one before it, and that one, which has not been sent."""
    await served.site.ledgers_clock.sleep_until(MORNING + 20 * QUARTER)
    missing = served.site.campus.envelope(GATEWAY, {"meter/m-0": readings(0, 1)})
    waits = served.site.campus.envelope(GATEWAY, {"meter/m-0": readings(1, 2)})
    answer = await served.bus.send(GATEWAY, waits)
    assert answer.code == "sequence-gap"
    return sha256(waits).hexdigest(), missing


async def refused(served: Api, *codes: bytes) -> list[str]:
    """Messages that are none."""
    for data in codes:
        await served.bus.send(GATEWAY, data)
    return [sha256(data).hexdigest() for data in codes]


async def state(operator: httpx.AsyncClient, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = (await operator.get(f"{V1}/quarantine/{digest}")).json()["refused"][0]
    return found


async def test_what_was_refused_comes_newest_first_and_by_code(
    served: Api, operator: httpx.AsyncClient
) -> None:
    one, two = await refused(served, b"one", b"\xfftwo")
    gap, _ = await parked(served)
    first = (await operator.get(f"{V1}/quarantine", params={"limit": 2})).json()
    rest = (await operator.get(f"{V1}/quarantine", params={"after": first["next"]})).json()
    found = [*first["items"], *rest["items"]]
    assert found[0]["digest"] == gap
    assert {each["digest"] for each in found[1:]} == {one, two}
    assert "message" not in found[0]
    assert found[0]["to_do"].startswith("they wait for earlier ones")
    by_code = (await operator.get(f"{V1}/quarantine", params={"code": "malformed"})).json()["items"]
    assert {each["digest"] for each in by_code} == {one, two}
    assert (await operator.get(f"{V1}/quarantine", params={"code": "A\0"})).status_code == 400
    assert (await operator.get(f"{V1}/quarantine/{two}")).json()["message"] == "\N{REPLACEMENT CHARACTER}two"


async def test_what_is_unknown_or_no_digest_is_told_so(operator: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", "/release"), ("POST", "/reject")):
        unknown = await operator.request(method, f"{V1}/quarantine/{'0' * 64}{path}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
        assert (await operator.request(method, f"{V1}/quarantine/xyz{path}")).status_code == 400
    cursor = await operator.get(f"{V1}/quarantine", params={"after": "xyz"})
    assert (cursor.status_code, cursor.json()["code"]) == (422, "bad-cursor")


@pytest.mark.parametrize("path", ["quarantine", "requests"])
async def test_a_cursor_at_the_edge_of_time_is_no_failure(operator: httpx.AsyncClient, path: str) -> None:
    rest: tuple[Any, ...] = ("", "") if path == "quarantine" else ("",)
    for instant, status in (
        ("0001-01-01T00:00:00Z", 200), ("9999-12-31T23:59:59.999999Z", 200),
        ("0001-01-01T00:00:00+14:00", 422), ("9999-12-31T23:59:59-14:00", 422),
    ):  # fmt: skip
        answer = await operator.get(f"{V1}/{path}", params={"after": cursor_of((instant, *rest))})
        assert answer.status_code == status, answer.text


async def test_a_released_message_is_judged_again_and_waits_again_if_it_is_refused(
    served: Api, operator: httpx.AsyncClient
) -> None:
    (digest,) = await refused(served, b"one")
    begin = len(served.bus.received)
    answer = await operator.post(f"{V1}/quarantine/{digest}/release")
    assert answer.status_code == 202
    assert (await served.bus.answer(b"one", begin)).code == "malformed"
    again = await state(operator, digest)
    assert (again["times"], again["resolved_at"], again["resolution"]) == (2, None, None)


async def test_a_message_that_what_it_lacked_has_come_for_is_recorded_when_released(
    served: Api, operator: httpx.AsyncClient
) -> None:
    stranger = "gw-2"
    served.site.campus.keys[stranger] = key(stranger)
    early = served.site.campus.envelope(stranger, {f"device/{stranger}": [alarm()]})
    digest = sha256(early).hexdigest()
    assert (await served.bus.send(stranger, early)).code == "unknown-device"
    await served.site.tell(OPERATOR, "registry", enrolment("campus", stranger, "gateway", key(stranger)))
    begin = len(served.bus.received)
    assert (await operator.post(f"{V1}/quarantine/{digest}/release")).status_code == 202
    assert (await served.bus.answer(early, begin)).code == "recorded"
    found = await state(operator, digest)
    assert found["resolution"] == "released"
    assert found["to_do"] == "nothing: it was sent again, and was not refused since"
    assert found["resolved_by"] == (await served.token("operator")).partition(".")[0]
    again = await operator.post(f"{V1}/quarantine/{digest}/release")
    assert (again.status_code, again.json()["code"]) == (409, "not-waiting")


async def test_a_gap_that_was_filled_with_other_events_is_not_told_to_be_recorded(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await served.site.ledgers_clock.sleep_until(MORNING + 20 * QUARTER)
    campus = served.site.campus
    assert (await served.bus.send(GATEWAY, campus.read(0, 2))).code == "recorded"
    ahead = {"meter/m-0": campus.heads["meter/m-0"]._replace(sequence=6)}
    gap = campus.envelope(GATEWAY, {"meter/m-0": readings(6, 7)}, after=ahead)
    assert (await served.bus.send(GATEWAY, gap)).code == "sequence-gap"
    assert (await served.bus.send(GATEWAY, campus.read(2, 7))).code == "recorded"
    assert (await served.bus.send(GATEWAY, campus.read(7, 8))).code == "recorded"  # it is settled by then
    found = (await operator.get(f"{V1}/quarantine/{sha256(gap).hexdigest()}")).json()["refused"]
    told = {each["code"]: each for each in found}
    assert told["fork"]["resolved_at"] is None
    assert told["sequence-gap"]["resolved_at"] is not None
    assert told["sequence-gap"]["refused_as"] == "fork"
    assert told["sequence-gap"]["to_do"] == (
        "nothing here: it was judged again and refused with `fork`, under which it stands"
    )
    listed = (await operator.get(f"{V1}/quarantine", params={"code": "sequence-gap"})).json()["items"]
    assert listed == [told["sequence-gap"]]


async def test_a_released_message_that_is_refused_with_another_code_is_told_so(
    served: Api, operator: httpx.AsyncClient
) -> None:
    digest, _ = await parked(served)
    waits = (await operator.get(f"{V1}/quarantine/{digest}")).json()["message"].encode()
    gone = KeyRevoked(device=GATEWAY, key=key(GATEWAY).public.id, reason="lost")
    await served.site.tell(OPERATOR, "registry", gone)
    for _ in range(2):  # a second time it is what was said the first time that waits
        begin = len(served.bus.received)
        assert (await operator.post(f"{V1}/quarantine/{digest}/release")).status_code == 202
        assert (await served.bus.answer(waits, begin)).code == "key-revoked"
        found = (await operator.get(f"{V1}/quarantine/{digest}")).json()["refused"]
        told = {each["code"]: each for each in found}
        assert (told["key-revoked"]["resolved_at"], told["key-revoked"]["refused_as"]) == (None, None)
        assert (told["sequence-gap"]["resolution"], told["sequence-gap"]["refused_as"]) == (
            "released",
            "key-revoked",
        )
        assert "`key-revoked`" in told["sequence-gap"]["to_do"]


def alarm() -> AlarmRaised:
    return AlarmRaised(alarm="meter-silent", at=MORNING, detail="", salt=SALT)


async def test_a_rejected_message_waits_no_longer_and_is_kept(
    served: Api, operator: httpx.AsyncClient
) -> None:
    digest, missing = await parked(served)
    answer = await operator.post(f"{V1}/quarantine/{digest}/reject")
    assert (answer.status_code, answer.json()["refused"][0]["resolution"]) == (200, "rejected")
    again = await operator.post(f"{V1}/quarantine/{digest}/reject")
    assert (again.status_code, again.json()["code"]) == (409, "not-waiting")
    assert (await served.bus.send(GATEWAY, missing)).code == "recorded"
    await asyncio.sleep(0.3)
    assert (await read_book(served.site.store, "campus")).heads["meter/m-0"].sequence == 1


async def test_nothing_of_a_message_is_locked_while_it_is_sent_again(
    served: Api, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (digest,) = await refused(served, b"one")
    begin, sent = len(served.bus.received), served.backend.bus.publish_envelope

    async def judged_before_it_returns(community: str, device: str, data: bytes) -> None:
        await sent(community, device, data)
        assert (await served.bus.answer(b"one", begin)).code == "malformed"

    monkeypatch.setattr(served.backend.bus, "publish_envelope", judged_before_it_returns)
    assert (await operator.post(f"{V1}/quarantine/{digest}/release")).status_code == 202
    again = await state(operator, digest)
    assert (again["times"], again["resolved_at"], again["resolution"]) == (2, None, None)


async def test_a_release_that_the_bus_does_not_take_decides_nothing(
    served: Api, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (digest,) = await refused(served, b"one")

    async def away(*_: object) -> None:
        raise BusUnavailable("gone")

    monkeypatch.setattr(served.backend.bus, "publish_envelope", away)
    assert (await operator.post(f"{V1}/quarantine/{digest}/release")).status_code == 503
    assert (await state(operator, digest))["resolved_at"] is None
