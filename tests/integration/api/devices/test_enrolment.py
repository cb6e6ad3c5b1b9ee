"""Devices are let in by a one-time token, once each."""

import asyncio
from datetime import timedelta

import httpx
import msgspec

from ledger.clock import SystemClock, VirtualClock
from ledger.keys import PublicKey
from ledger.opening import enrolment
from ledger.registry import OPERATOR, SERVICE
from tests.support.api import V1, Api
from tests.support.campus import GATEWAY, key
from tests.support.devices import (
    METER,
    SERVICE_KEY,
    Device,
    code_of,
    tell,
    token_for,
)


async def test_the_answer_to_an_enrolment_tells_by_which_key_receipts_are_checked(
    client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = Device(client)
    answer = await device.enrol(await token_for(operator))
    assert PublicKey.from_hex(answer.json()["service_key"]).id == SERVICE_KEY.id
    assert (answer.json()["device"], answer.json()["key"]) == (METER, device.key.public.id)


async def test_of_two_keys_that_bring_a_token_at_once_one_is_enrolled(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token = await token_for(operator)
    devices = [Device(client) for _ in range(6)]
    answers = await asyncio.gather(*(device.enrol(token) for device in devices))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert {code_of(answer) for answer in answers if answer.status_code == 409} == {(409, "token-used")}
    won = devices[[answer.status_code for answer in answers].index(201)]
    await served.site.projector.catch_up()
    assert (await operator.get(f"{V1}/devices/{METER}")).json()["public_key"] == won.key.public.bytes.hex()
    assert not await served.site.rows("SELECT 1 FROM book.quarantine")


async def test_the_same_request_again_is_answered_again_and_recorded_once(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token, device = await token_for(operator), Device(client)
    answers = await asyncio.gather(*(device.enrol(token) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [201] * 3
    count = "SELECT count(*) FROM book.events WHERE convert_from(body, 'UTF8') LIKE '%wifi-1%'"
    assert await served.site.rows(count) == [(1,)]


async def test_a_token_whose_event_is_in_the_book_already_is_used_up_without_another(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token, device = await token_for(operator), Device(client)
    await tell(served, enrolment("campus", METER, "meter", device.key))  # its receipt was lost, say
    assert (await device.enrol(token)).status_code == 201
    assert code_of(await Device(client).enrol(token)) == (409, "token-used")


async def test_a_token_enrols_nothing_but_what_it_was_made_for(
    client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token = await token_for(operator)
    assert code_of(await Device(client, "other").enrol(token)) == (422, "enrolment-invalid")
    assert code_of(await Device(client).enrol(token, "gateway")) == (422, "enrolment-invalid")
    stolen = msgspec.to_builtins(enrolment("campus", METER, "meter", key("a")))
    stolen["public_key"] = key("b").public.bytes.hex()
    for request in (stolen, {**stolen, "possession": "x"}, {**stolen, "public_key": "0" * 64}):
        answer = await client.post(f"{V1}/devices/enrol", json={"token": token, "request": request})
        assert code_of(answer) == (422, "enrolment-invalid")
    for wrong in ("x", "", ".", token[:-1], f"{token}x", f"x{token}", "a" * 100, "é.é"):
        assert code_of(await Device(client).enrol(wrong)) == (403, "token-invalid")
    assert (await Device(client).enrol(token)).status_code == 201


async def test_a_token_ends_by_time_by_the_next_one_and_by_a_revocation(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    clock = served.backend.clock = VirtualClock(SystemClock().now())
    first = await token_for(operator)
    clock.advance(timedelta(seconds=1))
    second = await token_for(operator)
    assert code_of(await Device(client).enrol(first)) == (403, "token-invalid")
    clock.advance(timedelta(hours=23, minutes=59, seconds=59))
    device = Device(client)
    assert (await device.enrol(second)).status_code == 201
    assert (await device.enrol(second)).status_code == 201
    clock.advance(timedelta(seconds=1))
    assert (await device.enrol(second)).status_code == 201  # used in time: the answer was lost
    spare = await token_for(operator, "other")
    clock.advance(timedelta(hours=24))
    assert code_of(await Device(client, "other").enrol(spare)) == (403, "token-invalid")

    await tell(served, enrolment("campus", "third", "meter", key("third")))
    held = await token_for(operator, "third")  # before the projections know of it
    await served.site.projector.catch_up()
    await operator.post(f"{V1}/devices/third/revoke", json={"reason": "stolen"})
    assert code_of(await Device(client, "third").enrol(held)) == (403, "token-invalid")
    await served.site.projector.catch_up()
    clock.advance(timedelta(seconds=1))
    assert (await Device(client, "third").enrol(await token_for(operator, "third"))).status_code == 201


async def test_a_key_that_was_revoked_is_not_enrolled_again(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = Device(client)
    await device.enrol(await token_for(operator))
    await served.site.projector.catch_up()
    await operator.post(f"{V1}/devices/{METER}/revoke", json={"reason": "lost"})
    await served.site.projector.catch_up()
    token = await token_for(operator)
    assert code_of(await device.enrol(token)) == (409, "contradiction")
    assert (await Device(client).enrol(token)).status_code == 201


async def test_a_token_is_kept_unreadable_also_when_its_request_can_be_sent_again(
    served: Api, operator: httpx.AsyncClient
) -> None:
    wanted, again = {"device": METER, "role": "meter"}, {"Idempotency-Key": "one"}
    tokens = [
        (await operator.post(f"{V1}/devices/tokens", json=wanted, headers=again)).json()["token"]
        for _ in range(2)
    ]
    assert tokens[0] == tokens[1]
    secret = tokens[0].partition(".")[2]
    ((sealed,),) = await served.site.rows("SELECT body FROM access.answers")
    ((enrolment,),) = await served.site.rows("SELECT t::text FROM access.enrolments t")
    assert secret.encode() not in sealed
    assert secret not in enrolment


async def test_what_the_book_would_not_take_is_told_to_who_asks_and_not_sent(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = Device(client)
    assert (await device.enrol(await token_for(operator))).status_code == 201
    await served.site.projector.catch_up()
    path, why = f"{V1}/devices/{METER}/revoke", {"reason": "stolen"}
    revoked = await operator.post(path, json=why)  # of which the projections know nothing
    assert (revoked.status_code, revoked.json()["key"]) == (200, device.key.public.id)
    for answer in await asyncio.gather(*(operator.post(path, json=why) for _ in range(3))):
        assert code_of(answer) == (409, "contradiction")
        assert answer.json()["detail"] == "the device has no key: it was revoked"
        assert answer.json()["where"] == METER
    assert code_of(await operator.post(f"{V1}/devices/nobody/revoke", json=why)) == (404, "not-found")
    for needed in (SERVICE, OPERATOR):
        answer = await operator.post(f"{V1}/devices/{needed}/revoke", json=why)
        assert code_of(answer) == (409, "contradiction")
        assert "nobody could write" in answer.json()["detail"]
    await served.site.projector.catch_up()
    again = await device.enrol(await token_for(operator, METER))
    assert code_of(again) == (409, "contradiction")
    assert again.json()["detail"] == "this key is or was in use"
    assert not await served.site.rows("SELECT 1 FROM book.quarantine")


async def test_of_revocations_at_once_one_is_recorded_and_the_others_are_told(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    assert (await Device(client).enrol(await token_for(operator))).status_code == 201
    await served.site.projector.catch_up()
    path = f"{V1}/devices/{METER}/revoke"
    answers = await asyncio.gather(*(operator.post(path, json={"reason": "lost"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert not await served.site.rows("SELECT 1 FROM book.quarantine")


async def test_a_refused_enrolment_leaves_the_token_as_it_was(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token = await token_for(operator)
    used = Device(client, METER, key(GATEWAY))
    assert code_of(await used.enrol(token)) == (409, "contradiction")  # the key is another device's
    assert (await Device(client).enrol(token)).status_code == 201


async def test_no_token_is_made_for_whom_has_a_key_or_for_another_operator(
    operator: httpx.AsyncClient,
) -> None:
    wanted = {"device": GATEWAY, "role": "gateway"}
    assert code_of(await operator.post(f"{V1}/devices/tokens", json=wanted)) == (409, "contradiction")
    for wrong in (
        {"role": "operator"},
        {"role": "service"},
        {"hours": 0},
        {"hours": 10_000},
        {"device": "A"},
    ):
        answer = await operator.post(f"{V1}/devices/tokens", json={"device": "x", "role": "meter", **wrong})
        assert code_of(answer) == (400, "bad-request")


async def test_the_access_log_keeps_an_enrolment_and_nothing_else_that_a_device_without_a_key_asks_for(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    token, device = await token_for(operator), Device(client)
    answers = [await device.enrol(token), await device.enrol(token), await Device(client).enrol(token)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    query = "SELECT path, status, prefix FROM access.requests WHERE prefix IS NULL"
    async with asyncio.timeout(10):
        while not (rows := await served.site.rows(query)):
            await asyncio.sleep(0.05)
    assert rows == [(f"{V1}/devices/enrol", 201, None)]
