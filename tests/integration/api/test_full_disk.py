"""An installation whose disk is full says so wherever it is asked, and goes on once there is room."""

import asyncio
from pathlib import Path

import httpx

from ledger.clock import monotonic_seconds
from tests.integration.api.test_operations import SETTINGS, listening
from tests.support.api import V1
from tests.support.place import WAIT_SECONDS, Place
from tests.support.small_disk import SmallDisk, small_disk

MARKET = '[market]\nmechanism = "mid_market_rate"\ntariff = "th-mea-4.2-12-24kv"\n'
ORDERS = f"{V1}/buildings/school/orders"


class Asked:
    """The API of that installation, asked by its school and its operator."""

    def __init__(self, address: str, school: str, operator: str) -> None:
        self.school = _client(address, school)
        self.operator = _client(address, operator)

    async def order(self, name: str) -> int:
        """Place an order; the status."""
        body = {"order": name, "side": "sell", "limit": "3.20", "until": "2099-01-01T00:00:00Z"}
        return (await self.school.post(ORDERS, json=body)).status_code

    async def orders(self) -> set[str]:
        """The orders that the book has."""
        return {each["order"] for each in (await self.school.get(ORDERS)).json()["items"]}

    async def readiness(self) -> tuple[int, str]:
        """The status of /readyz, and what JetStream says of itself."""
        answer = await self.operator.get("/readyz")
        return answer.status_code, answer.json()["parts"]["jetstream"]

    async def stores(self) -> bool:
        """What is measured."""
        return 'jetstream_stores{community="campus"} 1.0' in (await self.operator.get("/metrics")).text


def _client(address: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30)


async def test_a_full_disk_is_told_everywhere_and_no_longer_than_it_lasts(server_folder: Path) -> None:
    with small_disk(server_folder, 300) as disk:
        place = Place(disk.folder)
        place.config.write_text(SETTINGS + MARKET)
        place.start()
        try:
            await _fill_and_make_room(place, disk)
            assert await asyncio.to_thread(place.down) == 0
        finally:
            place.end()


async def _fill_and_make_room(place: Place, disk: SmallDisk) -> None:
    address = await asyncio.to_thread(listening, place)
    school = await asyncio.to_thread(place.run, "key", "create", "building", "--building", "school")
    operator = await asyncio.to_thread(place.run, "key", "create", "operator")
    asked = Asked(address, school.strip(), operator.strip())
    assert await asked.order("before") == 201
    disk.fill()
    taken = {f"full-{number}" for number in range(3) if await asked.order(f"full-{number}") == 201}
    assert len(taken) < 3
    status, said = await asked.readiness()
    assert status == 503
    assert "no space left on device" in said
    assert "make room" in said
    assert not await asked.stores()
    unwell = await asyncio.to_thread(place.run, "doctor", code=1)
    assert "unwell" in unwell
    disk.make_room()
    end = monotonic_seconds() + WAIT_SECONDS
    while await asked.order("after") != 201:
        assert monotonic_seconds() < end, place.log.read_text()
    assert await asked.readiness() == (200, "ok")
    assert await asked.stores()
    assert await asked.orders() >= taken | {"before", "after"}
    await asked.school.aclose()
    await asked.operator.aclose()
    assert "nats-server is restarted" in place.log.read_text()
