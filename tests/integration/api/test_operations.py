"""Whether it lives, is ready and what it measures; and the API under `up`, from its start to its end."""

import asyncio
from pathlib import Path
from time import sleep

import asyncpg
import httpx
import pytest

from ledger.clock import VirtualClock, monotonic_seconds
from ledger.embedded import EmbeddedNats
from ledger.postgres import connect
from ledger.postgres.connection import APP
from ledger.postgres.health import Health, read_health
from ledger.postgres.pool import Pool
from tests.support.api import V1, api
from tests.support.campus import GATEWAY, MORNING, QUARTER
from tests.support.place import WAIT_SECONDS, Place
from tests.support.store import owner
from tests.support.trading import DAY, HOUR, quarters

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
    monkeypatch.setattr("api.http.readiness.REMEMBERED_SECONDS", 0)
    async with (
        api(database, nats_server, tmp_path) as found,
        found.client() as client,
        found.client("operator") as operator,
        found.client("auditor") as auditor,
    ):
        early = await client.get("/readyz")
        assert early.status_code == 503
        assert early.json()["parts"] == {"migrations": "ok", "projections": "not ok", "jetstream": "ok"}
        assert (await auditor.get("/readyz")).json() == early.json()
        await found.site.projector.catch_up()
        ready = await client.get("/readyz")
        assert ready.json() == {
            "ready": True, "parts": {"migrations": "ok", "projections": "ok", "jetstream": "ok"},
        }  # fmt: skip
        monkeypatch.setattr("api.http.readiness.LAG_EVENTS_MAX", -1)
        late = await operator.get("/readyz")
        assert late.status_code == 503
        assert "behind" in late.json()["parts"]["projections"]
        assert (await client.get("/livez")).json() == {"status": "ok"}


async def test_a_store_that_hangs_is_told_of_soon(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(pool: Pool, community: str) -> Health:
        async with pool.connection() as connection:
            await connection.execute("SELECT pg_sleep(60)")
        return await read_health(pool, community)

    monkeypatch.setattr("api.http.readiness.read_health", hangs)
    monkeypatch.setattr("api.http.readiness.ANSWER_SECONDS", 1)
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as operator:
        begin = monotonic_seconds()
        told = await operator.get("/readyz")
        assert monotonic_seconds() - begin < 10
        assert told.status_code == 503
        assert told.json()["parts"]["projections"] == "no answer within 1 seconds"
        assert told.json()["parts"]["jetstream"] == "ok"


async def test_however_many_ask_the_parts_are_looked_at_once_a_second(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    async def counted(pool: Pool, community: str) -> Health:
        looked.append(community)
        return await read_health(pool, community)

    monkeypatch.setattr("api.http.readiness.read_health", counted)
    monkeypatch.setattr("api.http.readiness.REMEMBERED_SECONDS", 1_000)
    async with api(database, nats_server, tmp_path) as found, found.client() as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert looked == ["campus"]


async def measured(client: httpx.AsyncClient) -> dict[str, float]:
    """What Prometheus reads: the community's own by their bare names."""
    text = (await client.get("/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    own = '{community="campus"}'
    return {name.removeprefix("energy_ledger_").removesuffix(own): float(value) for name, value in lines}


async def test_prometheus_reads_what_is_measured(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as client:
        site, clock = found.site, VirtualClock(MORNING + DAY)
        found.backend.clock = clock
        await site.projector.catch_up()
        await client.get("/nowhere")
        new = await measured(client)
        assert new["events"] > 10
        assert new['requests_total{method="GET",status="404"}'] == 1
        for never in ("settled", "block", "measured", "anchor"):
            assert new[f"{never}_age_seconds"] == -1
        assert (new["quarantine_open"], new["projection_lag_events"]) == (0, 0)

        await quarters(site, 0, 4)  # MORNING to an hour later, recorded a day later
        await found.bus.send(GATEWAY, b"no envelope")
        behind = await measured(client)
        assert behind["projection_lag_events"] == behind["events"] - new["events"] >= 15
        assert (behind["quarantine_open"], behind["recorded_age_seconds"]) == (1, 0)

        await site.clock.sleep_until(MORNING + DAY)
        await site.settle()
        await site.writer.book.seal()
        await site.projector.catch_up()
        clock.advance(QUARTER)
        late = await measured(client)
        assert late["projection_lag_events"] == 0
        assert late["block_age_seconds"] == late["recorded_age_seconds"] == 900
        assert late["settled_age_seconds"] == QUARTER.total_seconds()
        assert late["measured_age_seconds"] == (DAY - HOUR + 2 * QUARTER).total_seconds()


async def test_prometheus_reads_when_a_block_was_anchored_last(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as client:
        await found.site.projector.catch_up()
        found.backend.clock = VirtualClock(MORNING + DAY)
        service = await connect(found.backend.book.postgres, name="test", role=APP)
        for community, number, at in (
            ("campus", 3, MORNING + HOUR),
            ("campus", 2, MORNING),
            ("b", 9, MORNING + DAY),
        ):
            await service.execute(
                "INSERT INTO book.anchors VALUES ($1, $2, $3, 31337, $4, $5, $6)",
                community, number, bytes(32), bytes(20), bytes(32), at,
            )  # fmt: skip
        for change in ("DELETE FROM book.anchors", "UPDATE book.anchors SET number = 1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(change)
        await service.close()
        assert (await measured(client))["anchor_age_seconds"] == (DAY - HOUR).total_seconds()
        async with owner(found.backend.book.postgres) as store:
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await store.execute("DELETE FROM book.anchors")


async def test_receipts_are_counted_by_what_they_say(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as client:
        await found.site.projector.catch_up()
        await found.site.ledgers_clock.sleep_until(MORNING + DAY)
        data = found.site.campus.read(0, 4)
        for each in (data, data, data.replace(b"measured", b"mismatch", 1)):
            await client.post(f"{V1}/envelopes", content=each, headers={"Content-Type": "application/json"})
        told = await measured(client)
    for code in ("recorded", "duplicate", "malformed"):
        assert told[f'receipts_total{{code="{code}"}}'] == 1


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
