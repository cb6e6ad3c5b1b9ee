"""Webhooks as billing and operators run them, and what is told of what comes into the book."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats
from ledger.events import AlarmRaised
from ledger.webhooks import TOPICS
from tests.support.api import V1, Api, api
from tests.support.billing import SELLER, a_late_peak, credit, four_quarters_of_june, issue
from tests.support.campus import GATEWAY, MORNING, QUARTER, SALT, readings
from tests.support.receiver import Receiver, receiving
from tests.support.webhooks import LOOPBACK, deliveries, hurry, is_signed, made, until

RUNS = ("run.provisional", "run.final", "run.revised")
DOCUMENTS = ("invoice.issued", "credit-note.issued")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def served(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    hurry(monkeypatch)
    async with api(database, nats_server, tmp_path, outgoing_allow=LOOPBACK) as found:
        found.backend.billing = SELLER
        await found.site.projector.catch_up()
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


@pytest.fixture
async def billing(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("billing") as client:
        yield client


def told(receiver: Receiver) -> list[dict[str, Any]]:
    """What came, by position in the book."""
    found = [json.loads(each.body) for each in receiver.received]
    return sorted(found, key=lambda each: each["data"]["position"])


# --- who may, and what is shown ------------------------------------------------------------------------


async def test_billing_sees_its_own_webhooks_and_the_operator_all(
    served: Api, billing: httpx.AsyncClient, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    mine, _ = await made(billing, receiver.url, "invoice.issued")
    theirs, _ = await made(operator, receiver.url, "alarm.raised")
    assert {each["webhook"] for each in (await operator.get(f"{V1}/webhooks")).json()["items"]} == {
        mine.rpartition("/")[2], theirs.rpartition("/")[2],
    }  # fmt: skip
    (listed,) = (await billing.get(f"{V1}/webhooks")).json()["items"]
    assert (listed["role"], listed["topics"]) == ("billing", ["invoice.issued"])
    assert listed["key"] == (await served.token("billing")).partition(".")[0]
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/enable"), ("POST", "/ping"),
        ("GET", "/deliveries"), ("GET", f"/deliveries/msg_{'0' * 32}"),
        ("POST", f"/deliveries/msg_{'0' * 32}/redeliver"),
    ):  # fmt: skip
        answer = await billing.request(method, f"{theirs}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
    assert (await operator.get(theirs)).status_code == 200


async def test_billing_is_not_told_of_the_campus(billing: httpx.AsyncClient, receiver: Receiver) -> None:
    wanted = {"url": receiver.url, "topics": ["invoice.issued", "alarm.raised"]}
    answer = await billing.post(f"{V1}/webhooks", json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


async def test_nobody_else_has_webhooks(served: Api, receiver: Receiver) -> None:
    wanted = {"url": receiver.url, "topics": ["run.final"]}
    for role, building in (("auditor", None), ("building", "b-1")):
        async with served.client(role, building) as client:  # type: ignore[arg-type]  # both are roles
            assert (await client.post(f"{V1}/webhooks", json=wanted)).status_code == 403


async def test_an_address_that_may_not_be_asked_is_refused_at_once(operator: httpx.AsyncClient) -> None:
    for url in (
        "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data", "http://8.8.8.8/",
        "https://user:secret@hooks.example.org/", "ftp://hooks.example.org/", "https://2130706433/",
        "https://8.8.8.8:25/",
    ):  # fmt: skip
        answer = await operator.post(f"{V1}/webhooks", json={"url": url, "topics": ["run.final"]})
        assert (answer.status_code, answer.json()["code"]) == (422, "outgoing-refused"), url
        assert "secret" not in answer.text
    assert (await operator.get(f"{V1}/webhooks")).json()["items"] == []


async def test_what_is_no_webhook_is_refused(operator: httpx.AsyncClient, receiver: Receiver) -> None:
    for wrong in (
        {}, {"url": receiver.url}, {"url": receiver.url, "topics": []}, {"url": "", "topics": ["run.final"]},
        {"url": receiver.url, "topics": ["ping"]}, {"url": receiver.url, "topics": ["run.final"], "x": 1},
        {"url": receiver.url, "topics": ["run.final"], "label": "a\0b"},
    ):  # fmt: skip
        assert (await operator.post(f"{V1}/webhooks", json=wrong)).status_code == 400
    for path in ("wh_x", f"wh_{'0' * 17}", "wh_0000%00"):
        assert (await operator.get(f"{V1}/webhooks/{path}")).status_code in (400, 404)


async def test_there_are_no_more_webhooks_than_may_be(
    operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.routes.webhooks.WEBHOOKS_MAX", 1)
    path, _ = await made(operator, receiver.url, "run.final")
    wanted = {"url": receiver.url, "topics": ["run.final"]}
    answer = await operator.post(f"{V1}/webhooks", json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (409, "too-many-webhooks")
    assert (await operator.delete(path)).status_code == 204
    assert (await operator.get(path)).status_code == 404
    await made(operator, receiver.url, "run.final")


async def test_a_secret_is_shown_once_and_kept_sealed(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    headers = {"Idempotency-Key": "one"}
    wanted = {"url": f"{receiver.url}?key=s3cret", "topics": ["run.final"], "label": "mine"}
    first = await operator.post(f"{V1}/webhooks", json=wanted, headers=headers)
    path, secret = f"{V1}/webhooks/{first.json()['webhook']['webhook']}", first.json()["secret"]
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["webhook"]["origin"] == f"http://127.0.0.1:{receiver.port}"
    again = await operator.post(f"{V1}/webhooks", json=wanted, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json()), "also the secret, to who asks the same"
    assert (again.headers["idempotent-replayed"], again.headers["cache-control"]) == ("true", "no-store")
    assert len((await operator.get(f"{V1}/webhooks")).json()["items"]) == 1
    rotated = await operator.post(f"{path}/rotate", headers={"Idempotency-Key": "two"})
    assert (
        await operator.post(f"{path}/rotate", headers={"Idempotency-Key": "two"})
    ).json() == rotated.json()
    receiver.port = 1  # what fails is told too
    await operator.post(f"{path}/ping")
    await receiver.until(1)
    await asyncio.sleep(1.3)  # the access log is written
    shown = [
        (await operator.get(each)).text
        for each in (path, f"{V1}/webhooks", f"{path}/deliveries", f"{V1}/requests", "/metrics")
    ]
    rows = [
        repr(row)
        for query in (
            "SELECT * FROM webhooks.webhooks",
            "SELECT * FROM webhooks.deliveries",
            "SELECT * FROM access.answers",
            "SELECT * FROM access.requests",
        )
        for row in await served.site.rows(query)
    ]
    printed = capfd.readouterr()
    for each in (secret, rotated.json()["secret"]):
        raw = each.removeprefix("whsec_")
        for text in (*shown, *rows, printed.out, printed.err):
            assert raw not in text
            assert raw.encode().hex() not in text
    for text in (*shown, *rows, printed.out, printed.err):
        for token in ("T0KEN", "s3cret"):
            assert token not in text
            assert token.encode().hex() not in text


# --- what is told --------------------------------------------------------------------------------------


async def test_every_run_and_document_since_then_is_told_once_and_signed(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    await served.site.settle()
    path, secret = await made(billing, receiver.url, *RUNS, *DOCUMENTS)
    await four_quarters_of_june(served.site)
    await served.site.projector.catch_up()
    numbers = [each.number for each in await issue(served.site)]
    cancelled = await credit(served.site, numbers[1], date(2026, 7, 2))
    await a_late_peak(served.site)
    await served.site.projector.catch_up()
    runs = (await billing.get(f"{V1}/runs")).json()["items"]
    await receiver.until(len(runs) + len(numbers) + 1)
    await asyncio.sleep(0.3)
    found = told(receiver)
    assert [each["data"]["number"] for each in found if each["type"].startswith("run.")] == [
        each["number"] for each in runs
    ]
    assert {each["type"] for each in found} == {*RUNS, *DOCUMENTS}
    assert all(each["type"] == f"run.{each['data']['kind']}" for each in found if "kind" in each["data"])
    invoices = [each["data"] for each in found if each["type"] == "invoice.issued"]
    assert [each["number"] for each in invoices] == numbers
    for each in invoices:
        document = (await billing.get(each["link"])).json()
        assert (document["total_micro"], document["building"]) == (each["total"]["micro"], each["building"])
    (note,) = [each["data"] for each in found if each["type"] == "credit-note.issued"]
    assert (note["cancels"], note["number"]) == (numbers[1], cancelled.number)
    assert all(is_signed(each, secret) for each in receiver.received)
    assert len({each.headers["webhook-id"] for each in receiver.received}) == len(found)
    listed = await deliveries(billing, path)
    assert {each["state"] for each in listed} == {"delivered"}
    assert {each["status"] for each in listed} == {204}
    assert sorted(each["position"] for each in listed) == [each["data"]["position"] for each in found]


async def test_what_was_before_a_webhook_is_not_told(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    await four_quarters_of_june(served.site)
    path, _ = await made(
        billing, receiver.url, *RUNS, *DOCUMENTS
    )  # the projections have not seen the last run
    await served.site.projector.catch_up()
    await billing.post(f"{path}/ping")
    await receiver.until(1)
    await asyncio.sleep(0.3)
    assert [json.loads(each.body)["type"] for each in receiver.received] == ["ping"]


async def test_what_was_not_asked_for_is_not_told(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    await made(billing, receiver.url, "run.final")
    await four_quarters_of_june(served.site)
    await served.site.projector.catch_up()
    await receiver.until(1)
    await asyncio.sleep(0.3)
    assert [each["type"] for each in told(receiver)] == ["run.final"]


async def test_no_message_holds_what_a_building_measured(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    await made(operator, receiver.url, *TOPICS)
    await four_quarters_of_june(served.site)
    raised = AlarmRaised(
        alarm="register-jump", meter="m-0", at=MORNING, detail="from 1,234 to 987,654 Wh", salt=SALT
    )
    await served.site.tell(GATEWAY, f"device/{GATEWAY}", raised)
    await served.site.projector.catch_up()
    await operator.post(f"{V1}/months/2026-06/issue")
    await served.site.projector.catch_up()
    await until(lambda: has_topics(receiver, "invoice.issued", "alarm.raised", "run.final"))
    for each in receiver.received:
        for word in (b"_wh", b"milliwh", b"987,654", b"import", b"export", b"detail", b"address", b"Demo"):
            assert word not in each.body


async def has_topics(receiver: Receiver, *topics: str) -> bool:
    return {json.loads(each.body)["type"] for each in receiver.received} >= set(topics)


async def test_operators_are_told_of_alarms_and_forks_once(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, secret = await made(operator, receiver.url, "alarm.raised", "quarantine.fork")
    campus = served.site.campus
    await served.site.ledgers_clock.sleep_until(SystemClock().now() + timedelta(minutes=1))
    heads = dict(campus.heads)
    await served.site.tell(GATEWAY, "meter/m-0", *readings(0, 1))
    fork = campus.envelope(GATEWAY, {"meter/m-0": readings(1, 2)}, after=heads)
    raised = AlarmRaised(alarm="meter-silent", meter="m-0", at=MORNING + QUARTER, detail="x", salt=SALT)
    await served.site.tell(GATEWAY, f"device/{GATEWAY}", raised)
    for _ in range(2):
        assert (await served.bus.send(GATEWAY, fork)).code == "fork"
    await served.site.projector.catch_up()
    await receiver.until(2)
    await asyncio.sleep(0.3)
    alarm, forked = sorted(receiver.received, key=lambda each: json.loads(each.body)["type"])
    assert is_signed(alarm, secret)
    assert json.loads(alarm.body)["data"]["alarm"] == "meter-silent"
    data = json.loads(forked.body)["data"]
    assert (data["device"], data["stream"], data["sequence"]) == (GATEWAY, "meter/m-0", 1)
    message = (await operator.get(data["link"])).json()
    assert message["refused"][0]["code"] == "fork"
    assert len(await deliveries(operator, path)) == 2


async def test_an_id_is_the_same_after_the_outbox_was_filled_anew(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    """As after a store was restored from a copy."""
    path, _ = await made(billing, receiver.url, *RUNS)
    await four_quarters_of_june(served.site)
    await served.site.projector.catch_up()
    runs = len((await billing.get(f"{V1}/runs")).json()["items"])
    await receiver.until(runs)
    await until(lambda: deliveries(billing, path, "delivered"))
    await asyncio.sleep(0.3)
    before = {each.headers["webhook-id"]: each.body for each in receiver.received}
    async with served.backend.pool.connection() as connection:
        await connection.execute("DELETE FROM webhooks.deliveries")
        await connection.execute("UPDATE webhooks.webhooks SET sequence = 0")
    await receiver.until(2 * runs)
    assert {each.headers["webhook-id"]: each.body for each in receiver.received} == before


# --- rotation ------------------------------------------------------------------------------------------


async def test_a_secret_is_replaced_without_a_gap(billing: httpx.AsyncClient, receiver: Receiver) -> None:
    path, old = await made(billing, receiver.url, "run.final")
    answer = (await billing.post(f"{path}/rotate", params={"overlap_hours": 1})).json()
    assert answer["before_until"] is not None
    await billing.post(f"{path}/ping")
    (both,) = await receiver.until(1)
    assert is_signed(both, answer["secret"], old)
    at_once = (await billing.post(f"{path}/rotate", params={"overlap_hours": 0})).json()
    await until(lambda: deliveries(billing, path, "delivered"))
    await billing.post(f"{path}/ping")
    one = (await receiver.until(2))[1]
    assert is_signed(one, at_once["secret"])
    assert (await billing.get(path)).json()["rotated_at"] is not None
    assert (await billing.post(f"{path}/rotate", params={"overlap_hours": 1_000})).status_code == 400


async def test_of_two_who_replace_a_secret_at_once_one_is_told_so(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, _ = await made(billing, receiver.url, "run.final")
    store = served.backend.webhooks.store
    row = await store.webhook(path.rpartition("/")[2])
    assert row is not None
    assert await store.reseal(row, b"one", SystemClock().now())
    assert not await store.reseal(row, b"two", SystemClock().now())


async def test_a_seal_that_does_not_open_is_told_and_never_sent(
    served: Api, billing: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, _ = await made(billing, receiver.url, "run.final")
    async with served.backend.pool.connection() as connection:
        await connection.execute("UPDATE webhooks.webhooks SET sealed = '\\x00'")
    await billing.post(f"{path}/ping")
    (failed,) = await until(lambda: deliveries(billing, path, "failed"))
    assert (failed["code"], failed["status"]) == ("seal-broken", None)
    assert (await billing.post(f"{path}/rotate")).json()["code"] == "seal-broken"
    assert receiver.received == []


# --- the description -----------------------------------------------------------------------------------


async def test_programs_and_people_are_told_what_is_sent(served: Api) -> None:
    async with served.client() as client:
        document = (await client.get("/v1/openapi.json")).json()
        page = (await client.get("/docs")).text
    assert set(document["webhooks"]) == {*TOPICS, "ping"}
    for topic, item in document["webhooks"].items():
        kind = item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["data"]
        assert kind["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        assert f"<code>{topic}</code>" in page
