"""What an operator has published over the API outlives a restart with the settings that were there before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.api.test_operations import SETTINGS, listening
from tests.support.place import Place
from tests.support.trading import FLAT

MARKET = """
[market]
mechanism = "mid_market_rate"
tariff = "flat.toml"
gate_minutes = 0
"""
RULES, REGISTRY = "/v1/communities/campus/market/rules", "/v1/communities/campus/registry"
WANTED = {"mechanism": "pay_as_bid", "tariff": "flat", "gate_minutes": 0}


@pytest.fixture
def place(server_folder: Path) -> Place:
    server_folder.mkdir(mode=0o711)
    found = Place(server_folder)
    found.folder.joinpath("flat.toml").write_text(FLAT)
    found.config.write_text(SETTINGS + MARKET)
    return found


async def test_a_start_undoes_nothing_that_was_published_until_the_settings_ask_for_something_new(
    place: Place,
) -> None:
    first, _ = await started(place, publish=WANTED)
    assert first == ["mid_market_rate", "pay_as_bid"]
    again, said = await started(place)
    assert again == first
    assert said == ("odd", "the book's was published after that of the settings")
    place.config.write_text(SETTINGS + MARKET.replace("mid_market_rate", "bill_sharing"))
    changed, said = await started(place)
    assert changed == [*first, "bill_sharing"]
    assert said[0] == "well"
    place.config.write_text(SETTINGS + MARKET)
    back, _ = await started(place)
    assert back == [*changed, "mid_market_rate"], "to go back is to ask for something new"


async def test_a_start_undoes_nothing_in_the_registry_until_the_settings_ask_for_something_new(
    place: Place,
) -> None:
    assert await named(place) == "School"
    assert await named(place, "Old school") == "Old school"
    assert await named(place) == "Old school"
    place.config.write_text((SETTINGS + MARKET).replace('"School"', '"New school"'))
    assert await named(place) == "New school"


async def named(place: Place, name: str = "") -> str:
    """Start, perhaps name the building otherwise, stop; how the registry names it."""
    await asyncio.to_thread(place.start)
    try:
        async with operator_of(place) as client:
            if name:
                wanted = {"building": "school", "feeder": "feeder-1", "name": name}
                answer = await client.post(REGISTRY, json={"buildings": [wanted]})
                assert answer.status_code == 201, answer.text
            found = None
            while found is None or (name and found != name):  # the projections follow
                (row,) = (await client.get(REGISTRY)).json()["buildings"]
                found = str(row["name"])
        assert await asyncio.to_thread(place.down) == 0
    finally:
        place.end()
    return found


@asynccontextmanager
async def operator_of(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """The operator's client of a place that runs."""
    address = await asyncio.to_thread(listening, place)
    token = (await asyncio.to_thread(place.run, "key", "create", "operator")).strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
        yield client


async def started(place: Place, publish: dict[str, Any] | None = None) -> tuple[list[str], tuple[str, str]]:
    """Start, perhaps publish rules, stop; the mechanisms that were published, and what the doctor said."""
    await asyncio.to_thread(place.start)
    try:
        async with operator_of(place) as client:
            if publish is not None:
                answer = await client.post(RULES, json=publish)
                assert answer.status_code == 201, answer.text
            rules = (await client.get(RULES)).json()["items"]
        findings = await asyncio.to_thread(place.ask, "doctor")
        assert await asyncio.to_thread(place.down) == 0
    finally:
        place.end()
    (said,) = [each for each in findings if each["what"] == "market"]
    return [each["rules"]["mechanism"] for each in rules], (said["verdict"], said["found"])
