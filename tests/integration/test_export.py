"""What the store exports is what was recorded, byte for byte, whatever goes on meanwhile."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.export import NothingToExport, export_community
from ledger.extract import export_meter
from ledger.merkle import EMPTY_ROOT
from ledger.postgres import PostgresSettings, exporter, migrate
from ledger.postgres.appender import Appender
from ledger.postgres.connection import close, connect
from ledger.postgres.exporter import open_snapshot
from ledger.verify import verify_file
from tests.unit.ledger.campus import COMMUNITY, NOW, readings
from tests.unit.ledger.memory_ledger import MemoryLedger, busy_ledger, write_book, write_extract

METERS = ("m-1", "m-2", "m-9")


@pytest.fixture
async def store(database: str) -> PostgresSettings:
    """A store that has its tables and no book."""
    settings = PostgresSettings(url=database)
    connection = await connect(settings, name="test")
    await migrate(connection)
    await close(connection)
    return settings


async def fill(store: PostgresSettings, ledger: MemoryLedger, begin: int = 0) -> None:
    """Append what a ledger in memory has recorded from a batch on."""
    appender = await Appender.open(store)
    try:
        await appender.state(COMMUNITY, EMPTY_ROOT, NOW)
        for batch in ledger.batches[begin:]:
            await appender.append(batch)
    finally:
        await appender.close()


async def test_the_store_exports_what_was_recorded_byte_for_byte(
    store: PostgresSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "PAGE_ROWS", 7)
    ledger = busy_ledger()
    await fill(store, ledger)
    async with open_snapshot(store) as snapshot:
        exported = await export_community(snapshot, COMMUNITY, tmp_path / "book.jsonl")
        for meter in METERS:
            await export_meter(snapshot, COMMUNITY, meter, tmp_path / f"{meter}.jsonl")
    assert (exported.size, exported.events) == (44, 44)
    recorded = tmp_path / "recorded.jsonl"
    assert (tmp_path / "book.jsonl").read_bytes() == write_book(ledger, recorded).read_bytes()
    for meter in METERS:
        extract = (tmp_path / f"{meter}.jsonl").read_bytes()
        assert extract == write_extract(ledger, meter, recorded).read_bytes()
        assert verify_file(tmp_path / f"{meter}.jsonl").verified
    assert verify_file(tmp_path / "book.jsonl").verified


async def test_what_is_appended_during_an_export_is_not_in_it(
    store: PostgresSettings, tmp_path: Path
) -> None:
    ledger = busy_ledger()
    await fill(store, ledger)
    before = write_book(ledger, tmp_path / "before.jsonl").read_bytes()
    extract_before = write_extract(ledger, "m-9", tmp_path / "before.jsonl").read_bytes()
    known = len(ledger.batches)
    async with open_snapshot(store) as snapshot:
        await snapshot.fence(COMMUNITY)
        ledger.send("m-9", {"meter/m-9": readings(3, 9)})
        ledger.seal()
        await fill(store, ledger, known)
        await export_community(snapshot, COMMUNITY, tmp_path / "book.jsonl")
        await export_meter(snapshot, COMMUNITY, "m-9", tmp_path / "m-9.jsonl")
    assert (tmp_path / "book.jsonl").read_bytes() == before
    assert (tmp_path / "m-9.jsonl").read_bytes() == extract_before
    async with open_snapshot(store) as snapshot:
        await export_community(snapshot, COMMUNITY, tmp_path / "book.jsonl")
    assert verify_file(tmp_path / "book.jsonl").size == ledger.edge.size


async def test_a_book_of_many_tiles_is_exported_and_verified(store: PostgresSettings, tmp_path: Path) -> None:
    ledger = busy_ledger()
    later = NOW + timedelta(days=30)
    for day in range(8):
        ledger.take(ledger.sealed("m-9", {"meter/m-9": readings(3 + 96 * day, 99 + 96 * day)}), later)
    await fill(store, ledger)
    async with open_snapshot(store) as snapshot:
        await export_community(snapshot, COMMUNITY, tmp_path / "book.jsonl.gz")
        await export_meter(snapshot, COMMUNITY, "m-9", tmp_path / "m-9.jsonl")
    assert verify_file(tmp_path / "book.jsonl.gz").verified
    report = verify_file(tmp_path / "m-9.jsonl")
    assert report.verified
    assert report.events > 8 * 96


async def test_a_book_that_is_not_there_leaves_no_file(store: PostgresSettings, tmp_path: Path) -> None:
    async with open_snapshot(store) as snapshot:
        with pytest.raises(NothingToExport):
            await export_community(snapshot, COMMUNITY, tmp_path / "book.jsonl")
    assert not os.listdir(tmp_path)


# --- the commands ---------------------------------------------------------------------------------


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


async def test_export_and_verify_as_commands(store: PostgresSettings, tmp_path: Path) -> None:
    await fill(store, busy_ledger())
    config = tmp_path / "energy-ledger.toml"
    config.write_text(
        f'[community]\nid = "{COMMUNITY}"\n[postgres]\nurl = "{store.url}"\n[nats]\nurl = "nats://127.0.0.1:1"\n'
    )
    done = run("export", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "campus-44.jsonl: 44 events" in done.stdout
    done = run("export", "--meter", "m-1", "--out", "m.jsonl", "--config", str(config), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("verify", "campus-44.jsonl", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"] is True
    assert run("verify", "m.jsonl", "--log-key", report["log_key"], folder=tmp_path).returncode == 0

    book = tmp_path / "campus-44.jsonl"
    book.write_bytes(book.read_bytes().replace(b'"import_wh":1001000', b'"import_wh":1001001', 1))
    done = run("verify", "campus-44.jsonl", folder=tmp_path)
    assert done.returncode == 4
    assert "chains               fail        meter/m-1 4, line 11: " in done.stdout
    assert "not-verified: step 3, chains" in done.stderr
    assert run("verify", "nowhere.jsonl", folder=tmp_path).returncode == 2


def test_verifying_loads_no_server_and_no_network(tmp_path: Path) -> None:
    book = write_book(busy_ledger(), tmp_path / "book.jsonl")
    script = (
        "import sys; from api.audit_commands import verify; from pathlib import Path\n"
        f"verify(Path({str(book)!r}))\n"
        "print([name for name in ('asyncpg', 'nats', 'pymodbus', 'socketserver') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["verified", "[]"]
