"""The live stream: whoever comes back with an id is told what it missed, once, whoever answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.live import hub
from api.http.live.place import Place
from api.http.server import served as serving
from ledger.clock import rfc3339
from ledger.embedded import EmbeddedNats
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned, MeterRead
from ledger.registry import OPERATOR
from tests.support.api import V1, Api
from tests.support.campus import GATEWAY, MORNING, QUARTER, SALT
from tests.support.live import (
    LIVE,
    WAIT_SECONDS,
    Message,
    another,
    ended,
    everything,
    heard,
    refusal,
    sse,
    told_campus,
    told_on,
    ws,
)
from tests.support.trading import HOUR


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with told_campus(database, nats_server, tmp_path) as found:
        yield found


# --- what is told --------------------------------------------------------------------------------------


async def test_what_is_told_is_what_the_lists_say(served: Api) -> None:
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + HOUR)}
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        intervals = (await client.get(f"{V1}/buildings/b-1/intervals", params=span)).json()["items"]
        trades = (await client.get(f"{V1}/buildings/b-1/trades", params=span)).json()["items"]
        chain = (await client.get(f"{V1}/buildings/b-1/meters/m-0/chain")).json()
    readings = [each for each in told if each["event"] == "reading"]
    energies = {each["start"]: each for reading in readings for each in reading["energy"]}
    assert [energies[start] for start in sorted(energies)] == intervals
    assert [reading["hash"] for reading in readings] == [link["hash"] for link in chain["items"]]
    settled = {each["start"]: each["trades"] for each in told if each["event"] == "settled"}
    assert [trade for start in sorted(settled) for trade in settled[start]] == trades


async def test_an_interval_that_had_begun_when_the_meter_came_is_told_no_more_than_it_is_listed(
    served: Api,
) -> None:
    since = MORNING + timedelta(seconds=17)
    await served.site.tell(
        OPERATOR, "registry",
        BuildingAdded(building="b-9", feeder="f-1", name="new"),
        MeterAdded(meter="m-9", role="connection", model="x", rated_w=69_000, since=since, building="b-9"),
        MeterAssigned(meter="m-9", device=GATEWAY, since=since),
    )  # fmt: skip
    instants = [since, *(MORNING + quarter * QUARTER for quarter in (1, 2))]
    read = [
        MeterRead(import_wh=346 * count, export_wh=0, measured_at=at, quality="measured", salt=SALT)
        for count, at in enumerate(instants)
    ]
    await served.site.tell(GATEWAY, "meter/m-9", *read)
    await served.site.projector.catch_up()
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + HOUR)}
    async with served.client("building", "b-9") as client:
        listed = (await client.get(f"{V1}/buildings/b-9/intervals", params=span)).json()["items"]
        async with sse(client, f"{V1}/buildings/b-9/live", after="0.0") as messages:
            told = [each async for each in of_readings(messages, 3)]
    assert [each["energy"] for each in told] == [[], [], listed]
    assert [each["start"] for each in listed] == ["2026-06-01T00:15:00Z"]


async def of_readings(messages: AsyncIterator[Message], count: int) -> AsyncIterator[Message]:
    """The next so many messages of readings."""
    async for each in messages:
        if each["event"] == "reading":
            yield each
            count -= 1
        if not count:
            return


async def test_what_a_late_reading_changes_is_told_as_revised(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    revised = [each for each in told if each.get("revised")]
    assert [(each["event"], each["run"]) for each in revised] == [("settled", 2), ("price", 2)] * 2
    first = {each["start"]: each for each in told if each["event"] == "settled" and not each["revised"]}
    for each in revised[::2]:
        assert first[each["start"]]["sold_milliwh"] == 2_000_000, "half of the gap"
    assert [each["sold_milliwh"] for each in revised[::2]] == [1_000_000, 3_000_000]
    assert {each["grid_import"]["micro_per_kwh"] for each in revised[1::2]} == {4_000_000}
    assert {each["grid_export"]["micro_per_kwh"] for each in revised[1::2]} == {2_000_000}
    assert all(2_000_000 <= each["p2p_lowest"]["micro_per_kwh"] <= 4_000_000 for each in revised[1::2])


async def test_partners_are_told_to_the_building_itself_alone(served: Api) -> None:
    def partners(told: Sequence[Message]) -> set[Any]:
        return {trade["partner"] for each in told if each["event"] == "settled" for trade in each["trades"]}

    async with served.client("building", "b-1") as own, served.client("operator") as operator:
        assert partners(await everything(own)) == {"b-2", "b-3"}
        assert partners(await everything(operator)) == {None}


async def test_a_websocket_tells_the_same_as_server_sent_events(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    async with ws(served, f"{LIVE}?after=0.0") as socket:
        assert await heard(told_on(socket), len(told)) == told


async def test_what_comes_is_told_while_it_comes(served: Api) -> None:
    async with (
        served.client("building", "b-1") as client,
        served.client("operator") as operator,
        sse(client) as first,
        sse(operator) as second,
        ws(served) as socket,
    ):
        await served.site.read("m-0", (5, 0, 10_000))
        await served.site.read("m-1", (5, 5_000, 0))
        await served.site.projector.catch_up()
        found = [(await heard(each, 1))[0] for each in (first, second, told_on(socket))]
    assert found[0] == found[1] == found[2]
    assert found[0]["export_wh"] == 10_000


# --- without a gap -------------------------------------------------------------------------------------


async def test_whoever_was_cut_off_goes_on_after_any_message(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        for cut in range(len(told) - 1):
            async with sse(client, last=told[cut]["id"], after="0.0") as messages:
                assert await heard(messages, len(told) - cut - 1) == told[cut + 1 :], cut
        async with sse(client, last=told[-1]["id"]) as messages:
            await served.site.read("m-0", (5, 0, 10_000))
            await served.site.projector.catch_up()
            (message,) = await heard(messages, 1)
            assert (message["event"], message["sequence"]) == ("reading", 6)


async def test_ids_hold_for_every_process_and_over_restarts(served: Api) -> None:
    """One process ends in the middle; what came meanwhile, and what is told twice as often, is told once."""
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    headers = {"Authorization": f"Bearer {await served.token('building', 'b-1')}"}
    server = AsyncExitStack()
    address = await server.enter_async_context(serving(another(served)))
    async with (
        httpx.AsyncClient(base_url=address, headers=headers) as client,
        sse(client, last=told[6]["id"]) as messages,
    ):
        assert await heard(messages, len(told) - 7) == told[7:]
        closing = asyncio.ensure_future(server.aclose())
        (last,) = await ended(messages)
        assert (last["event"], last["code"]) == ("ending", "stopping")
        assert Place.told(last["id"]) >= Place.told(told[-1]["id"])
    await closing
    await served.site.read("m-0", (5, 0, 10_000))
    await served.site.projector.catch_up()
    async with (
        serving(another(served)) as address,
        httpx.AsyncClient(base_url=address, headers=headers) as client,
        sse(client, last=last["id"]) as messages,
    ):
        assert [each["sequence"] for each in await heard(messages, 1)] == [6]


async def test_whoever_comes_and_goes_while_the_book_grows_misses_nothing(served: Api) -> None:
    """Many who come at any time, are cut at any time and come back: each hears the one sequence."""
    count, draw = 40, random.Random(7)
    async with served.client("building", "b-1") as client:
        begin = (await everything(client))[-1]["id"]

        async def follow(seed: int) -> list[Message]:
            found: list[Message] = []
            chance = random.Random(seed)
            while len(found) < count:
                await asyncio.sleep(chance.random() / 10)
                async with sse(client, last=found[-1]["id"] if found else begin) as messages:
                    found += await heard(messages, min(chance.randint(1, 8), count - len(found)))
            return found

        listeners = [asyncio.ensure_future(follow(seed)) for seed in range(8)]
        for quarter in range(5, 5 + count):
            await served.site.read("m-0", (quarter, 0, 2_000 * quarter))
            if draw.random() < 0.5:
                await served.site.projector.catch_up()
            await asyncio.sleep(draw.random() / 20)
        await served.site.projector.catch_up()
        heard_by = await asyncio.wait_for(asyncio.gather(*listeners), WAIT_SECONDS)
    assert [each["sequence"] for each in heard_by[0]] == list(range(6, 6 + count))
    assert all(each == heard_by[0] for each in heard_by)


async def test_pages_of_any_size_tell_the_same(served: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        for size in (1, 2, 3):
            for name in ("EVENTS_MAX", "INTERVALS_MAX", "POSITIONS_MAX"):
                monkeypatch.setattr(f"api.http.live.pages.{name}", size)
            assert await everything(client) == told


async def test_a_quiet_building_learns_how_far_the_book_is(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever was cut off after a quiet month does not have it searched."""
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)
    async with served.client("building", "b-1") as client, sse(client) as messages, ws(served) as socket:
        await served.site.read("m-1", (5, 5_000, 0))
        size = (await served.site.rows("SELECT size FROM book.communities"))[0][0]
        await served.site.projector.catch_up()
        for each in (messages, told_on(socket)):
            async with asyncio.timeout(WAIT_SECONDS):
                while (message := await anext(each))["id"] != str(Place(size)):
                    assert message["event"] == "heartbeat"


# --- power ---------------------------------------------------------------------------------------------


async def test_power_is_the_newest_that_the_book_knows_and_named_as_what_it_is(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        found = (await client.get(f"{V1}/buildings/b-1/power")).json()
        (meter,) = found["meters"]
        assert meter["power"] == found["total"]
        average = found["total"]
        assert (average["kind"], average["power_w"], average["stale"]) == ("interval-average", -12_000, True)
        assert average["until"] == rfc3339(MORNING + HOUR)
        later = MORNING + HOUR + timedelta(minutes=15)
        read = MeterRead(
            import_wh=0, export_wh=9_000, measured_at=later, quality="measured", salt=SALT, power_w=-4_321
        )
        await served.site.tell(GATEWAY, "meter/m-0", read)
        await served.site.projector.catch_up()
        instant = (await client.get(f"{V1}/buildings/b-1/power")).json()["total"]
        assert (instant["kind"], instant["power_w"]) == ("instantaneous", -4_321)
        assert instant["since"] == instant["until"] == rfc3339(later)
        assert await refusal(client, f"{V1}/buildings/b-2/power") == (403, "not-allowed")
