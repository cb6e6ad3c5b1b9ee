"""A gateway as a service and as a process: composed from its settings file, ended from outside."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.gateway import Site
from ingest.gateway_service import run_gateway
from ledger.bus import BusSettings
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats
from ledger.keys import SigningKey
from tests.unit.ingest.installation import RATED_W, Installation, bus_settings, drained

ROOT = Path(__file__).parents[3]


def write_file(site: Installation, interval_minutes: int = 15) -> Path:
    """A settings file as it is on a device that only reads meters."""
    lines = [f'[community]\nid = "{site.community}"\ninterval_minutes = {interval_minutes}']
    lines.append(
        f'[nats]\nurl = "{site.settings.nats.url}"\nnkey_seed_file = "{site.settings.nats.nkey_seed_file}"'
    )
    lines.append(f'[data]\nfolder = "{site.settings.data.folder}"')
    for line in site.lines:
        lines.append('[[gateways]]\nid = "gw-1"\n[[gateways.lines]]')
        lines.append(f'host = "{line.host}"\nport = {line.port}')
        for unit in line.meters:
            lines.append(f'[[gateways.lines.meters]]\nid = "m-{unit}"\nunit = {unit}\nmodel = "sdm630"')
            lines.append(f'building = "b-1"\nrated_w = {RATED_W}')
    path = site.folder / "site.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
async def real_time(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path, database, bus_settings(nats_server), SystemClock())
    try:
        yield installation
    finally:
        await installation.close()


async def test_the_service_is_composed_from_the_settings_file_alone(real_time: Installation) -> None:
    site = real_time
    await site.add_lines(2)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    stop = asyncio.Event()
    running = asyncio.create_task(run_gateway(write_file(site), {}, None, stop))
    async with asyncio.timeout(20):
        while len(await site.readings()) < 2:
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert {len(events) for events in (await site.readings()).values()} == {1}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_gateway_process_that_is_ended_keeps_its_outbox(
    real_time: Installation, how: signal.Signals
) -> None:
    site = real_time
    await site.add_lines(2)
    (settings,) = site.gateways("gw-1")
    site.key_of("gw-1")
    program = "from api.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "gateway", "--config", str(write_file(site))),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"readings kept" not in await process.stderr.readline():
            assert process.returncode is None
        process.send_signal(how)
        words = await process.stderr.read()
        await process.wait()
    assert process.returncode == (0 if how == signal.SIGTERM else -how)
    assert (b"gateway stopped" in words) == (how == signal.SIGTERM)
    await site.start_ledger()
    await site.enrol(settings)
    async with site.gateway(settings) as gateway:
        assert (await gateway.status()).waiting == 2
        await drained(gateway)
    assert {len(events) for events in (await site.readings()).values()} == {1}


def test_a_site_does_not_show_its_key() -> None:
    key = SigningKey.generate()
    site = Site("campus", 15, key.public, BusSettings(), key, Path("outbox.db"))
    assert key.public.id in repr(site)
