"""Devices over HTTP: enrolled by a token, heard by their signature, answered by the ledger's receipt."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest

from api.http import envelopes
from api.http.backend import Backend
from api.http.envelopes import Envelopes
from ledger.access import Role
from ledger.bus import Bus
from ledger.canonical import encode
from ledger.client import BookClient
from ledger.clock import SystemClock, VirtualClock
from ledger.embedded import EmbeddedNats
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.event import Event
from ledger.events import MeterAdded, MeterAssigned
from ledger.keys import PublicKey, SigningKey
from ledger.opening import enrolment, rotation
from ledger.receipt import HEADS, Answer, read_receipt, sign_receipts
from ledger.registry import OPERATOR, SERVICE
from tests.support.api import V1, Api, api
from tests.support.campus import GATEWAY, MORNING, key, readings
from tests.support.trading import DAY

JSON = {"Content-Type": "application/json"}
METER = "wifi-1"
STREAM = f"meter/{METER}"
SERVICE_KEY = key(SERVICE).public


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus whose projections are there, some days after its first morning."""
    async with api(database, nats_server, tmp_path) as found:
        await ready(found)
        yield found


@pytest.fixture
async def client(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who shows no key."""
    async with served.client() as stranger:
        yield stranger


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


async def ready(served: Api) -> None:
    await served.site.ledgers_clock.sleep_until(MORNING + 2 * DAY)
    await served.site.projector.catch_up()


async def tell(served: Api, *events: Event) -> None:
    """The operator tells the registry something, from wherever its chain goes on now."""
    client = BookClient(served.bus.bus, "campus", OPERATOR, key(OPERATOR), SERVICE_KEY)
    await client.open()
    await client.append("registry", events)


class Device:
    """What a self-signing meter holds: its key, and where its chains go on."""

    def __init__(
        self, client: httpx.AsyncClient, name: str = METER, signing: SigningKey | None = None
    ) -> None:
        self.client = client
        self.name = name
        self.key = signing or SigningKey.generate()
        self.heads: dict[str, Head] = {}

    async def enrol(self, token: str, role: Any = "meter") -> httpx.Response:
        request = enrolment("campus", self.name, role, self.key)
        body = {"token": token, "request": msgspec.to_builtins(request)}
        return await self.client.post(f"{V1}/devices/enrol", json=body)

    async def ask_heads(self) -> dict[str, Head]:
        answer = await self.client.get(f"{V1}/devices/{self.name}/heads")
        told = read_receipt(answer.content, "campus", SERVICE_KEY)
        assert (answer.status_code, told.code, told.device) == (200, HEADS, self.name)
        self.heads = {head.stream: head.head() for head in told.heads}
        return self.heads

    def envelope(self, stream: str, events: Sequence[Event], signing: SigningKey | None = None) -> bytes:
        run = NewRun(stream, self.heads.get(stream, EMPTY), [encode(event) for event in events])
        return seal_envelope("campus", self.name, signing or self.key, [run])[0]

    async def send(self, data: bytes) -> tuple[int, Answer]:
        """Status and verified receipt of an envelope; the device goes on from the heads it tells."""
        answer = await post(self.client, data)
        assert answer.headers["content-type"] == "application/json", answer.text
        told = read_receipt(answer.content, "campus", SERVICE_KEY)
        assert (told.device, told.envelope) == (self.name, sha256(data).hexdigest())
        self.heads.update({head.stream: head.head() for head in told.heads})
        return answer.status_code, told


async def post(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await client.post(f"{V1}/envelopes", content=data, headers=JSON)


async def token_for(operator: httpx.AsyncClient, device: str = METER, role: str = "meter") -> str:
    answer = await operator.post(f"{V1}/devices/tokens", json={"device": device, "role": role})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    token: str = answer.json()["token"]
    return token


async def enrolled(served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient) -> Device:
    """A meter that signs its own readings, enrolled and assigned to itself."""
    device = Device(client)
    assert (await device.enrol(await token_for(operator))).status_code == 201
    since = MORNING - timedelta(days=1)
    added = MeterAdded(meter=METER, role="connection", model="x", rated_w=69_000, since=since, building="b-1")
    await tell(served, added, MeterAssigned(meter=METER, device=METER, since=since))
    await device.ask_heads()
    return device


class _Saying:
    """A bus on which somebody answers for the ledger."""

    def __init__(self, words: bytes) -> None:
        self._words = words

    async def ask_heads(self, community: str, device: str) -> bytes:
        return self._words


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


# --- a life ----------------------------------------------------------------------------------------


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
    await served.site.projector.catch_up()
    assert (await operator.get(f"{V1}/devices/{METER}")).json()["public_key"] is None
    again = await operator.post(f"{V1}/devices/{METER}/revoke", json={"reason": "stolen"})
    assert code_of(again) == (409, "contradiction")


async def codes(device: Device, data: bytes) -> tuple[int, str]:
    status, receipt = await device.send(data)
    return status, receipt.code


async def test_the_answer_to_an_enrolment_tells_by_which_key_receipts_are_checked(
    client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    device = Device(client)
    answer = await device.enrol(await token_for(operator))
    assert PublicKey.from_hex(answer.json()["service_key"]).id == SERVICE_KEY.id
    assert (answer.json()["device"], answer.json()["key"]) == (METER, device.key.public.id)


# --- envelopes -------------------------------------------------------------------------------------


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
    served.backend.envelopes = Envelopes(served.bus.bus, "campus", SERVICE_KEY, seconds=0)
    data = served.site.campus.read(0, 4)
    answer = await post(client, data)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "10")
    assert answer.json() == {"envelope": sha256(data).hexdigest(), "status": "kept"}
    await served.bus.answer(data)
    served.backend.envelopes = Envelopes(served.bus.bus, "campus", SERVICE_KEY)
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
    door = served.backend.envelopes = Envelopes(served.bus.bus, "campus", SERVICE_KEY)
    junk = Device(client, "nobody").envelope(STREAM, readings(0, 1))
    answers = [await post(client, junk) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    elsewhere = await door.take("192.0.2.7", GATEWAY, served.site.campus.read(0, 4))
    assert elsewhere is not None
    assert elsewhere.answer.code == "recorded"


# --- heads -----------------------------------------------------------------------------------------


async def test_heads_of_meters_are_told_to_everybody_and_of_buildings_to_those_they_concern(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    assert set(await Device(client, GATEWAY).ask_heads()) >= {"meter/m-0", f"device/{GATEWAY}"}
    assert (
        await Device(client, "b-1").enrol(await token_for(operator, "b-1", "building"), "building")
    ).is_success
    for name in (OPERATOR, SERVICE, "b-1"):
        path = f"{V1}/devices/{name}/heads"
        assert code_of(await client.get(path)) == (401, "not-authenticated")
        assert (await operator.get(path)).status_code == 200
        async with served.client("auditor") as auditor, served.client("billing") as billing:
            assert (await auditor.get(path)).status_code == 200
            assert code_of(await billing.get(path)) == (403, "not-allowed")
        async with served.client("building", "b-1") as own, served.client("building", "b-2") as other:
            assert (await own.get(path)).status_code == (200 if name == "b-1" else 403)
            assert code_of(await other.get(path)) == (403, "not-allowed")


async def test_heads_that_the_ledger_did_not_sign_are_not_passed_on(
    served: Api, client: httpx.AsyncClient
) -> None:
    told = Answer(
        code=HEADS, community="campus", device=GATEWAY, envelope="0" * 64, heads=[], recorded_at=MORNING
    )
    for forged in (b"{}", *sign_receipts("campus", [told], key("somebody"))):
        bus = cast(Bus, _Saying(forged))
        served.backend.envelopes = Envelopes(bus, "campus", SERVICE_KEY)
        answer = await client.get(f"{V1}/devices/{GATEWAY}/heads")
        assert code_of(answer) == (503, "not-the-ledgers")


@pytest.mark.parametrize("name", ["nobody", "A", "*", "a%20b", "..%2Fx"])
async def test_nobody_has_no_heads(client: httpx.AsyncClient, name: str) -> None:
    assert code_of(await client.get(f"{V1}/devices/{name}/heads")) == (404, "not-found")


# --- enrolment -------------------------------------------------------------------------------------


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


async def test_a_token_is_kept_nowhere_also_when_its_request_can_be_sent_again(
    served: Api, operator: httpx.AsyncClient
) -> None:
    wanted, again = {"device": METER, "role": "meter"}, {"Idempotency-Key": "one"}
    tokens = [
        (await operator.post(f"{V1}/devices/tokens", json=wanted, headers=again)).json()["token"]
        for _ in range(2)
    ]
    assert tokens[0] != tokens[1]
    kept = await served.site.rows(
        "SELECT convert_from(body, 'UTF8') FROM access.answers UNION SELECT t::text FROM access.enrolments t"
    )
    assert len(kept) == 2
    assert not [row for row in kept for token in tokens if token.partition(".")[2] in row[0]]


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


# --- who may ---------------------------------------------------------------------------------------


async def test_the_operator_alone_gives_tokens_out_and_revokes(
    served: Api, client: httpx.AsyncClient
) -> None:
    others: tuple[Role, ...] = ("auditor", "billing")
    asked: list[tuple[str, dict[str, str]]] = [
        ("tokens", {"device": "x", "role": "meter"}), (f"{GATEWAY}/revoke", {"reason": "x"}),
    ]  # fmt: skip
    for path, body in asked:
        assert code_of(await client.post(f"{V1}/devices/{path}", json=body)) == (401, "not-authenticated")
        for role in others:
            async with served.client(role) as other:
                answer = await other.post(f"{V1}/devices/{path}", json=body)
                assert code_of(answer) == (403, "not-allowed")


async def test_devices_come_in_pages_for_operators_and_auditors(
    served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    first = (await operator.get(f"{V1}/devices", params={"limit": 2})).json()
    rest = (await operator.get(f"{V1}/devices", params={"after": first["next"]})).json()
    shown = [*first["items"], *rest["items"]]
    assert [each["device"] for each in shown] == [GATEWAY, OPERATOR, SERVICE]
    assert shown[0]["key"] == key(GATEWAY).public.id
    assert shown[0]["position"] > shown[1]["position"]
    async with served.client("auditor") as auditor, served.client("building", "b-1") as building:
        assert (await auditor.get(f"{V1}/devices")).json()["items"] == shown
        assert code_of(await building.get(f"{V1}/devices")) == (403, "not-allowed")
    assert code_of(await client.get(f"{V1}/devices")) == (401, "not-authenticated")
    assert code_of(await operator.get(f"{V1}/devices/nobody")) == (404, "not-found")
    gone = await operator.post(f"{V1}/devices/nobody/revoke", json={"reason": "x"})
    assert code_of(gone) == (404, "not-found")


# --- when NATS is away -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_wiped", [False, True])
async def test_while_nats_is_away_devices_are_asked_to_come_again_and_nothing_is_lost(
    database: str, server_folder: Path, tmp_path: Path, is_wiped: bool
) -> None:
    async with EmbeddedNats(server_folder) as nats, api(database, nats, tmp_path) as served:
        await ready(served)
        async with served.client() as client, served.client("operator") as operator:
            device = await enrolled(served, client, operator)
            token, late = await token_for(operator, "late"), Device(client, "late")
            assert await codes(device, device.envelope(STREAM, readings(0, 4))) == (200, "recorded")
            data = device.envelope(STREAM, readings(4, 8))
            await nats.stop()
            away = await asyncio.gather(
                post(client, data), client.get(f"{V1}/devices/{METER}/heads"), late.enrol(token)
            )
            assert [code_of(answer) for answer in away] == [(503, "bus-unavailable")] * 3
            assert all(answer.headers["retry-after"] for answer in away)
            if is_wiped:
                shutil.rmtree(nats.folder / "store")
            await nats.start()
            answer = await until_answered(client, data)
            assert read_receipt(answer.content, "campus", SERVICE_KEY).code in ("recorded", "duplicate")
            assert (await late.enrol(token)).status_code == 201
            assert (await device.ask_heads())[STREAM].sequence == 8


async def until_answered(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    """What a device does: the same envelope, until there is a receipt for it."""
    while True:
        answer = await post(client, data)
        if answer.status_code == 200:
            return answer
        assert answer.status_code in (202, 503), answer.text
        await asyncio.sleep(0.2)
