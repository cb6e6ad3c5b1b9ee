"""Heads and the list of devices: who may know them; and when NATS is away."""

import asyncio
import shutil
from pathlib import Path
from typing import cast

import httpx
import pytest

from api.http.envelopes import Envelopes
from ledger.access import Role
from ledger.bus import Bus
from ledger.embedded import EmbeddedNats
from ledger.receipt import HEADS, Answer, read_receipt, sign_receipts
from ledger.registry import OPERATOR, SERVICE
from tests.support.api import V1, Api, api
from tests.support.campus import GATEWAY, MORNING, key, readings
from tests.support.devices import (
    METER,
    SERVICE_KEY,
    STREAM,
    Device,
    code_of,
    codes,
    enrolled,
    post,
    ready,
    token_for,
)


class _Saying:
    """A bus on which somebody answers for the ledger."""

    def __init__(self, words: bytes) -> None:
        self._words = words

    async def ask_heads(self, community: str, device: str) -> bytes:
        return self._words


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
        served.backend.envelopes = Envelopes(bus, served.backend.door)
        answer = await client.get(f"{V1}/devices/{GATEWAY}/heads")
        assert code_of(answer) == (503, "not-the-ledgers")


@pytest.mark.parametrize("name", ["nobody", "A", "*", "a%20b", "..%2Fx"])
async def test_nobody_has_no_heads(client: httpx.AsyncClient, name: str) -> None:
    assert code_of(await client.get(f"{V1}/devices/{name}/heads")) == (404, "not-found")


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
