"""Requests that take long: one key cannot hold up all others with them."""

import asyncio
from pathlib import Path

import pytest
from litestar import get

from api.http import in_flight
from ledger.embedded import EmbeddedNats
from tests.support.api import V1, api


async def test_a_key_has_so_many_requests_at_once_and_others_are_not_held_up(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, under_way = asyncio.Event(), asyncio.Semaphore(0)

    @get("/slow", may={"operator", "billing"})
    async def slow() -> None:
        under_way.release()
        await go.wait()

    monkeypatch.setattr(in_flight, "OF_A_KEY_MAX", 2)
    monkeypatch.setattr("api.http.app.OF_A_COMMUNITY", (slow,))
    async with (
        api(database, nats_server, tmp_path) as served,
        served.client("operator") as mine,
        served.client("billing") as other,
    ):
        asked = [asyncio.ensure_future(mine.get(f"{V1}/slow")) for _ in range(2)]
        for _ in asked:
            await under_way.acquire()
        refused = await mine.get(f"{V1}/slow")
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-at-once")
        assert refused.headers["retry-after"] == "1"
        asked.append(asyncio.ensure_future(other.get(f"{V1}/slow")))
        await under_way.acquire()
        go.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        assert (await mine.get(f"{V1}/slow")).status_code == 200
