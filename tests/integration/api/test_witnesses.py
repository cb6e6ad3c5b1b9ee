"""An installation that is witnessed: under `up`, what a witness cosigned is served, measured and examined."""

import asyncio
from pathlib import Path

import httpx
import pytest

from ledger.clock import monotonic_seconds
from ledger.cosignature import cosignature_of, witness_key
from ledger.opening import LedgerKeys
from tests.integration.api.test_operations import SETTINGS, listening
from tests.support.place import WAIT_SECONDS, Place
from tests.support.witness import Witness, witnessing

CHECKPOINT = "/v1/communities/campus/log/checkpoint"


@pytest.fixture
def place(server_folder: Path) -> Place:
    server_folder.mkdir(mode=0o711)
    return Place(server_folder)


def settings(witness: Witness) -> str:
    return f"""{SETTINGS}outgoing_allow = ["127.0.0.0/8"]

[log]
quorum = 1

[[log.witnesses]]
vkey = "{witness.vkey}"
url = "{witness.url}"
"""


async def test_under_up_others_are_given_what_the_witness_cosigned(place: Place) -> None:
    async with witnessing(Witness()) as witness:
        place.config.write_text(settings(witness))
        keys = LedgerKeys.load_or_create(place.folder / "data" / "keys")
        witness.logs["ledger.local/campus"] = keys.log.public.bytes
        await asyncio.to_thread(place.start)
        try:
            address = await asyncio.to_thread(listening, place)
            token = (await asyncio.to_thread(place.run, "key", "create", "operator")).strip()
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
                note = await published(client)
                assert cosignature_of(note, witness_key(witness.vkey)) is not None
                measured = (await client.get("/metrics")).text
                findings = await asyncio.to_thread(place.ask, "doctor")
                book = place.folder / "book.jsonl"
                await asyncio.to_thread(place.run, "export", "--out", str(book))
            assert await asyncio.to_thread(place.down) == 0
        finally:
            place.end()
    place.run("verify", str(book), "--witness", witness.vkey)
    labels = f'{{community="campus",witness="{witness.name}"}}'
    values = dict(line.rsplit(" ", 1) for line in measured.splitlines() if not line.startswith("#"))
    assert float(values[f"energy_ledger_witness_lag_events{labels}"]) >= 0
    assert 0 <= float(values[f"energy_ledger_witness_age_seconds{labels}"]) < WAIT_SECONDS
    assert [each["verdict"] for each in findings if each["what"] == "witness"] == ["well"]


async def published(client: httpx.AsyncClient) -> str:
    """The checkpoint, once there is one to be given."""
    end = monotonic_seconds() + WAIT_SECONDS
    while (answer := await client.get(CHECKPOINT)).status_code == 404:
        assert monotonic_seconds() < end, answer.text
        await asyncio.sleep(0.1)
    assert answer.status_code == 200, answer.text
    return answer.text
