"""Envelopes over HTTP: heard by their signature, answered by the ledger's receipt."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import cast

import httpx
import pytest

from api.http import door, envelopes
from api.http.backend import Backend
from api.http.envelopes import Envelopes
from ledger.bus import Bus
from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.keys import SigningKey
from ledger.opening import rotation
from ledger.postgres.devices import DeviceStore
from ledger.postgres.errors import StoreUnavailable
from ledger.receipt import Answer, read_receipt
from tests.support.api import V1, Api
from tests.support.campus import GATEWAY, MORNING, key, readings
from tests.support.devices import (
    JSON,
    METER,
    SERVICE_KEY,
    STREAM,
    Device,
    code_of,
    codes,
    enrolled,
    post,
)


async def test_a_self_signing_meter_lives_over_http_alone(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = await enrolled(served, client, operator)
    assert device.heads == {f"device/{METER}": EMPTY, STREAM: EMPTY}
    day = device.envelope(STREAM, readings(0, 97))
    status, receipt = await device.send(day)
    assert (status, receipt.code, device.heads[STREAM].sequence) == (200, "recorded", 97)
    status, receipt = await device.send(day)
    assert (status, receipt.code) == (200, "duplicate")

    old, new = device.key, SigningKey.generate()
    change = device.envelope(f"device/{METER}", [rotation("campus", METER, new)])
    assert (await device.send(change))[1].code == "recorded"
    device.key = new
    assert await codes(device, change) == await codes(device, day) == (200, "duplicate")
    next_day = readings(97, 120)
    assert await codes(device, device.envelope(STREAM, next_day, old)) == (403, "key-revoked")
    assert await codes(device, device.envelope(STREAM, next_day)) == (200, "recorded")

    await served.site.projector.catch_up()
    shown = (await operator.get(f"{V1}/devices/{METER}")).json()
    assert (shown["role"], shown["public_key"], shown["key"]) == (
        "meter",
        new.public.bytes.hex(),
        new.public.id,
    )
    answer = await operator.post(f"{V1}/devices/{METER}/revoke", json={"reason": "stolen"})
    assert answer.json() == {"device": METER, "key": new.public.id}
    assert await codes(device, device.envelope(STREAM, readings(120, 130))) == (403, "key-revoked")
    assert await codes(device, change) == await codes(device, day) == (200, "duplicate")
    await served.site.projector.catch_up()
    assert (await operator.get(f"{V1}/devices/{METER}")).json()["public_key"] is None
    again = await operator.post(f"{V1}/devices/{METER}/revoke", json={"reason": "stolen"})
    assert code_of(again) == (409, "contradiction")


async def test_whoever_may_not_is_answered_with_a_receipt_that_says_why(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = await enrolled(served, client, operator)
    others = Device(client, METER, key(GATEWAY))
    data = device.envelope(STREAM, readings(0, 4))
    assert await codes(device, data.replace(b'"import_wh":1000250', b'"import_wh":1000251')) == (
        403, "bad-signature",
    )  # fmt: skip
    assert await codes(device, data.replace(device.key.public.id.encode(), b"0" * 16)) == (
        403,
        "unknown-device",
    )
    assert await codes(others, others.envelope(STREAM, readings(0, 4))) == (403, "unknown-device")
    assert await codes(device, device.envelope("meter/m-1", readings(0, 4))) == (403, "not-permitted")
    nobody = Device(client, "nobody")
    assert await codes(nobody, nobody.envelope(STREAM, readings(0, 1))) == (403, "unknown-device")
    elsewhere = data.replace(b'"community":"campus"', b'"community":"other"')
    assert await codes(device, elsewhere) == (403, "not-permitted")
    assert await codes(device, device.envelope(STREAM, readings(500, 501))) == (422, "clock-skew")
    assert await codes(device, data.replace(b"}", b" }")) == (422, "not-canonical")
    assert await codes(device, data.replace(b'"runs"', b'"ruins"')) == (422, "malformed")
    assert await codes(device, data) == (200, "recorded")
    waiting = await served.site.rows("SELECT code FROM book.quarantine ORDER BY code")
    assert waiting == [("clock-skew",), ("not-permitted",)], "what nobody known has signed reaches no store"


async def test_who_is_refused_at_the_door_reaches_no_bus(served: Api, client: httpx.AsyncClient) -> None:
    served.backend.envelopes = Envelopes(cast(Bus, None), served.backend.door)
    nobody = Device(client, "nobody")
    assert await codes(nobody, nobody.envelope(STREAM, readings(0, 1))) == (403, "unknown-device")
    gateway = served.site.campus.read(0, 4)
    torn = gateway.replace(b'"import_wh":1000250', b'"import_wh":1000251')
    assert await codes(Device(client, GATEWAY), torn) == (403, "bad-signature")


async def test_of_a_key_that_counts_no_more_the_door_lets_in_what_the_book_holds_and_nothing_else(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "FRESH_SECONDS", 0)
    device = await enrolled(served, client, operator)
    old, begun = device.key, dict(device.heads)
    first = device.envelope(STREAM, readings(0, 4))
    change = device.envelope(f"device/{METER}", [rotation("campus", METER, SigningKey.generate())])
    for data in (first, change):
        assert await codes(device, data) == (200, "recorded")
    async with served.client("building", "b-2") as building:  # sees no rows of the meter
        answers = [await post(building, data) for data in (first, change)]
    told = [read_receipt(answer.content, "campus", SERVICE_KEY).code for answer in answers]
    assert told == ["duplicate", "duplicate"]
    served.backend.envelopes = Envelopes(cast(Bus, None), served.backend.door)
    new = device.envelope(STREAM, readings(4, 8), old)
    device.heads = begun
    longer, other = (device.envelope(STREAM, readings(*span), old) for span in ((0, 5), (1, 5)))
    torn = first.replace(b'"import_wh":1000250', b'"import_wh":1000251')
    for data in (new, longer, other, torn, change[:-3] + b'A"}'):
        assert await codes(device, data) == (403, "key-revoked")
    assert not await served.site.rows("SELECT 1 FROM book.quarantine")


async def test_a_device_counts_at_the_door_before_the_projections_know_of_it(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    nobody = Device(client, "nobody")
    assert await codes(nobody, nobody.envelope(STREAM, readings(0, 1))) == (403, "unknown-device")
    device = await enrolled(served, client, operator)
    assert await codes(device, device.envelope(STREAM, readings(0, 4))) == (200, "recorded")


async def test_while_the_store_is_away_known_devices_may_go_on_and_others_come_again(
    served: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, nobody = Device(client, GATEWAY), Device(client, "nobody")
    assert await codes(gateway, served.site.campus.read(0, 4)) == (200, "recorded")

    async def away(*_: object) -> list[tuple[int, bytes]]:
        raise StoreUnavailable("Postgres does not answer")

    monkeypatch.setattr(DeviceStore, "registry_after", away)
    monkeypatch.setattr(door, "FRESH_SECONDS", 0)
    assert await codes(gateway, served.site.campus.read(4, 8)) == (200, "recorded")
    answer = await post(client, nobody.envelope(STREAM, readings(0, 1)))
    assert code_of(answer) == (503, "store-unavailable")


async def test_a_chain_that_does_not_go_on_is_told_where_it_does(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = await enrolled(served, client, operator)
    first = device.envelope(STREAM, readings(0, 4))
    await device.send(first)
    lost = device.heads[STREAM]
    device.heads[STREAM] = Head(lost.sequence + 3, lost.hash)
    assert await codes(device, device.envelope(STREAM, readings(8, 9))) == (409, "sequence-gap")
    assert device.heads[STREAM] == lost
    device.heads[STREAM] = Head(lost.sequence, b"\1" * 32)
    assert await codes(device, device.envelope(STREAM, readings(4, 5))) == (409, "chain-broken")
    device.heads.clear()
    assert await codes(device, device.envelope(STREAM, readings(1, 5))) == (409, "fork")
    assert device.heads[STREAM] == lost
    assert await codes(device, device.envelope(STREAM, readings(4, 8))) == (200, "recorded")


@pytest.mark.parametrize("data", [
    b"", b"{", b"null", b"[]", b'{"device":', b'{"community":"campus"}', b'{"device":"A B"}',
    b'{"device":"*"}', b'{"device":"a.>"}', b'{"device":7}', b"\xff\xfe", b'{"device":"x\\u0000"}',
    b"[" * 5_000, b"\x1f\x8b\x08",
])  # fmt: skip
async def test_bytes_that_name_no_device_are_a_problem_and_reach_nobody(
    served: Api, client: httpx.AsyncClient, data: bytes
) -> None:
    assert code_of(await post(client, data)) == (422, "malformed")
    assert not await served.site.rows("SELECT 1 FROM book.quarantine")


async def test_a_truncated_envelope_is_malformed(served: Api, client: httpx.AsyncClient) -> None:
    data = served.site.campus.read(0, 4)
    for end in range(1, len(data), 97):
        assert code_of(await post(client, data[:end])) == (422, "malformed")


async def test_what_is_too_large_or_of_another_kind_is_not_read(client: httpx.AsyncClient) -> None:
    large = b'{"device":"x","y":"' + b"y" * 1024 * 1024 + b'"}'
    assert code_of(await post(client, large)) == (413, "too-large")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    answer = await client.post(f"{V1}/envelopes", content=pieces(), headers=JSON)
    assert code_of(answer) == (413, "too-large")
    answer = await client.post(f"{V1}/envelopes", content=b"{}", headers={"Content-Type": "text/plain"})
    assert code_of(answer) == (415, "other-media-type")


async def test_an_envelope_may_have_a_whole_mebibyte(client: httpx.AsyncClient) -> None:
    begin, end = b'{"device":"nobody","y":"', b'"}'
    data = begin + b"y" * (1024 * 1024 - len(begin) - len(end)) + end
    assert await codes(Device(client, "nobody"), data) == (422, "malformed")


async def test_one_envelope_sent_twice_at_once_is_recorded_once(
    served: Api, client: httpx.AsyncClient
) -> None:
    data = served.site.campus.read(0, 8)
    answers = await asyncio.gather(*(post(client, data) for _ in range(6)))
    told = [read_receipt(answer.content, "campus", SERVICE_KEY) for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert {each.code for each in told} <= {"recorded", "duplicate"}
    assert await served.site.rows("SELECT count(*) FROM book.events WHERE stream = 'meter/m-0'") == [(8,)]


async def test_an_envelope_that_is_not_answered_in_time_is_kept_and_may_be_sent_again(
    served: Api, client: httpx.AsyncClient
) -> None:
    served.backend.envelopes = Envelopes(served.bus.bus, served.backend.door, seconds=0)
    data = served.site.campus.read(0, 4)
    answer = await post(client, data)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "10")
    assert answer.json() == {"envelope": sha256(data).hexdigest(), "status": "kept"}
    await served.bus.answer(data)
    served.backend.envelopes = Envelopes(served.bus.bus, served.backend.door)
    assert await codes(Device(client, GATEWAY), data) == (200, "duplicate")


async def test_a_forged_receipt_answers_nothing(served: Api, client: httpx.AsyncClient) -> None:
    backend: Backend = served.backend
    data = served.site.campus.read(0, 4)
    told = Answer(
        code="recorded", community="campus", device=GATEWAY, envelope=sha256(data).hexdigest(), heads=[],
        recorded_at=MORNING,
    )  # fmt: skip
    forged = encode({"answer": told, "index": 0, "path": [], "signature": "A" * 86 + "==", "size": 1})
    asked = asyncio.ensure_future(post(client, data.replace(b'"quality":"measured"', b'"quality":"suspect"')))
    for junk in (forged, b"", b"{}", b"\xff", b"[" * 5_000):
        await backend.bus.publish_receipt("campus", GATEWAY, junk)
    assert (await asked).status_code == 403
    real = await post(client, data)
    assert read_receipt(real.content, "campus", SERVICE_KEY).code == "recorded"


async def test_who_floods_is_told_to_wait_and_silences_no_device(
    served: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelopes, "STRANGE_ENVELOPES_A_MINUTE", 5)
    monkeypatch.setattr(envelopes, "DEVICE_ENVELOPES_A_MINUTE", 20)
    inside = served.backend.envelopes = Envelopes(served.bus.bus, served.backend.door)
    junk = Device(client, "nobody").envelope(STREAM, readings(0, 1))
    answers = [await post(client, junk) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    elsewhere = await inside.take("192.0.2.7", GATEWAY, served.site.campus.read(0, 4))
    assert elsewhere is not None
    assert elsewhere.answer.code == "recorded"
