"""Whether it lives, is ready and what it measures; and the API under `up`, from its start to its end."""

import asyncio
from pathlib import Path
from time import sleep

import httpx
import pytest

from ledger.clock import monotonic_seconds
from ledger.embedded import EmbeddedNats
from tests.support.api import api
from tests.support.place import WAIT_SECONDS, Place

SETTINGS = """\
[community]
id = "campus"

[[feeders]]
id = "feeder-1"
name = "Feeder 1"

[[buildings]]
id = "school"
name = "School"
feeder = "feeder-1"

[api]
port = 0
"""


@pytest.fixture
def place(server_folder: Path) -> Place:
    server_folder.mkdir(mode=0o711)
    found = Place(server_folder)
    found.config.write_text(SETTINGS)
    return found


async def test_it_is_ready_when_every_part_is(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client() as client:
        early = await client.get("/readyz")
        assert early.status_code == 503
        assert early.json()["parts"]["projections"] != "ok"
        await found.site.projector.catch_up()
        ready = await client.get("/readyz")
        assert ready.json() == {
            "ready": True, "parts": {"migrations": "ok", "projections": "ok", "jetstream": "ok"},
        }  # fmt: skip
        monkeypatch.setattr("api.http.backend.LAG_EVENTS_MAX", -1)
        late = await client.get("/readyz")
        assert late.status_code == 503
        assert "behind" in late.json()["parts"]["projections"]
        assert (await client.get("/livez")).json() == {"status": "ok"}


async def test_prometheus_reads_what_is_measured(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as client:
        await found.site.projector.catch_up()
        await client.get("/nowhere")
        text = (await client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['energy_ledger_events{community="campus"}']) > 10
    assert float(values['energy_ledger_projection_lag_events{community="campus"}']) == 0
    assert float(values['energy_ledger_settled_age_seconds{community="campus"}']) == -1
    assert float(values['energy_ledger_requests_total{method="GET",status="404"}']) == 1


async def test_under_up_the_api_answers_what_it_took_when_it_is_asked_to_stop(place: Place) -> None:
    await asyncio.to_thread(place.start)
    try:
        address = await asyncio.to_thread(listening, place)
        token = (await asyncio.to_thread(place.run, "key", "create", "operator")).strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
            assert (await client.get("/readyz")).json()["ready"]
            page = await client.get("/docs")
            assert "Energy ledger" in page.text
            path = "/v1/communities/campus/log/checkpoint"
            ended = asyncio.ensure_future(until_refused(client, path))
            await asyncio.sleep(0.5)
            assert await asyncio.to_thread(place.down) == 0
            answered = await ended
        assert answered > 20
    finally:
        place.end()
    assert secret_of(token) not in place.log.read_text()


async def until_refused(client: httpx.AsyncClient, path: str) -> int:
    """Ask, one request after another, until nobody listens; how many were answered. What was sent on a
    connection that the server let go while it was idle was not taken, and is sent again by every client."""
    count = 0
    while True:
        try:
            answer = await client.get(path)
        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
            return count
        assert answer.status_code == 200, answer.text
        count += 1


def listening(place: Place) -> str:
    """The address that `up` has told."""
    end = monotonic_seconds() + WAIT_SECONDS
    while "the API listens at " not in (text := place.log.read_text()):
        assert monotonic_seconds() < end, text
        sleep(0.05)
    return text.partition("the API listens at ")[2].partition(",")[0]


def secret_of(token: str) -> str:
    return token.partition(".")[2]
