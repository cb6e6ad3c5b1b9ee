"""Keys by the command line, against a real store and a served API: made, listed, rotated, revoked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ledger.access import parts
from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api
from tests.support.place import Place

SETTINGS = """\
[community]
id = "campus"

[postgres]
url = "{postgres}"

[nats]
url = "{nats}"
"""


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await found.site.projector.catch_up()
        yield found


@pytest.fixture
def place(served: Api, database: str, nats_server: EmbeddedNats, tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.config.write_text(SETTINGS.format(postgres=database, nats=nats_server.url))
    return found


async def run(place: Place, *words: str, code: int = 0) -> str:
    return (await asyncio.to_thread(place.run, "key", *words, code=code)).strip()


async def status(found: Api, token: str, path: str = "/metrics") -> int:
    async with httpx.AsyncClient(base_url=found.address) as client:
        return (await client.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


async def test_a_key_is_made_listed_rotated_and_revoked(served: Api, place: Place) -> None:
    first = await run(place, "create", "operator", "--label", "gatehouse", "--days", "30")
    split = parts(first)
    assert split is not None
    prefix, secret = split
    assert await status(served, first) == 200

    listed = await run(place, "list")
    assert secret not in listed
    for word in (prefix, "operator", "gatehouse", "counts"):
        assert word in listed

    second = await run(place, "rotate", prefix, "--overlap-days", "1")
    assert (await status(served, first), await status(served, second)) == (200, 200), "both, for a day"
    assert "gatehouse" in (await run(place, "list")).splitlines()[-1], "the new one is for the same"

    await run(place, "revoke", prefix)
    async with asyncio.timeout(10):
        while await status(served, first) == 200:
            await asyncio.sleep(0.2)
    assert await status(served, first) == 401
    assert await status(served, second) == 200
    line = next(line for line in (await run(place, "list")).splitlines() if prefix in line)
    assert "revoked" in line
    assert "unknown-key" in await run(place, "rotate", prefix, code=2)


async def test_a_key_of_a_building_is_for_that_building(served: Api, place: Place) -> None:
    token = await run(place, "create", "building", "--building", "b-1")
    assert await status(served, token) == 403
    assert await status(served, token, f"{V1}/buildings/b-1/meters") == 200
    assert await status(served, token, f"{V1}/buildings/b-2/meters") == 403


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "building"), "key-unfit"),
        (("create", "operator", "--building", "b-1"), "key-unfit"),
        (("create", "building", "--building", "b-9"), "unknown-building"),
        (("create", "auditor", "--days", "0"), "key-unfit"),
        (("revoke", "000000000000"), "unknown-key"),
        (("rotate", "000000000000"), "unknown-key"),
        (("rotate", "000000000000", "--overlap-days", "9999"), "key-unfit"),
    ],
)
async def test_what_does_not_fit_is_refused_in_words(place: Place, words: tuple[str, ...], code: str) -> None:
    assert code in await run(place, *words, code=2)
