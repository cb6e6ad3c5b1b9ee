"""A served campus, and who asks it for devices."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ledger.embedded import EmbeddedNats
from tests.support.api import Api, api
from tests.support.devices import ready


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
