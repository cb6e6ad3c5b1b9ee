"""What an auditor fetches besides the log: the book as a file, streams, entries, signatures."""

import asyncio
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.entry import NO_HASH, entry_bytes, entry_hash
from ledger.export import export_community
from ledger.postgres.exporter import open_snapshot
from ledger.registry import OPERATOR, SERVICE
from ledger.verify import verify_file
from tests.support.api import V1, Api, api
from tests.support.campus import GATEWAY, MORNING, key
from tests.support.store import migrated
from tests.support.trading import DAY
from tests.unit.ledger.campus import rotated

PATHS = ("export", "streams", "streams/registry/entries", "streams/meter/m-0/entries", "envelopes/0")


@pytest.fixture(scope="module")
async def served(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("served_audit")
    await migrated(dsn)
    async with api(dsn, nats_server, tmp_path_factory.mktemp("api")) as found:
        await found.site.ledgers_clock.sleep_until(MORNING + DAY)
        for meter in ("m-0", "m-1"):
            await found.site.read(meter, *((quarter, 250 * quarter, 0) for quarter in range(8)))
        following = key("the gateway's next")
        await found.site.tell(GATEWAY, f"device/{GATEWAY}", rotated(GATEWAY, following))
        found.site.campus.keys[GATEWAY] = following
        await found.site.read("m-0", (8, 2_000, 0))
        yield found


@pytest.fixture
async def auditor(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("auditor") as client:
        yield client


async def told(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(f"{V1}/{path}", params=params)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def paged(client: httpx.AsyncClient, path: str, limit: int = 1_000) -> list[Any]:
    found: list[Any] = []
    after = ""
    while True:
        page = await told(client, path, limit=limit, after=after)
        found += page["items"]
        if page["next"] is None:
            return found
        assert len(page["items"]) == limit
        after = page["next"]


async def refused(client: httpx.AsyncClient, path: str) -> tuple[int, str]:
    answer = await client.get(f"{V1}/{path}")
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("role", "building"), [("building", "b-1"), ("billing", None)])
async def test_buildings_and_billing_are_refused(served: Api, role: Any, building: str | None) -> None:
    async with served.client(role, building) as client:
        for path in PATHS:
            assert await refused(client, path) == (403, "not-allowed")


async def test_the_whole_book_comes_as_a_file_that_proves_itself(
    served: Api, auditor: httpx.AsyncClient, tmp_path: Path
) -> None:
    """Byte for byte what the command line writes."""
    answer = await auditor.get(f"{V1}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    async with open_snapshot(served.site.store) as snapshot:
        exported = await export_community(snapshot, "campus", tmp_path / "by-command.jsonl")
    name = f"campus-{exported.size}.jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    (tmp_path / name).write_bytes(answer.content)
    report = verify_file(tmp_path / name, str(served.site.campus.verifier))
    assert (report.verified, report.size) == (True, exported.size)
    assert answer.content == exported.path.read_bytes()


async def test_who_asks_for_the_head_of_the_book_has_no_file_written(
    auditor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def written(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody reads it")

    monkeypatch.setattr("api.http.routes.audit.export_community", written)
    answer = await auditor.head(f"{V1}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")


async def nothing_is_held(served: Api) -> None:
    async with asyncio.timeout(10):
        while served.backend.extracts.held:
            await asyncio.sleep(0.02)


async def test_a_file_is_gone_when_it_was_read_and_when_its_reader_is_gone(
    served: Api, auditor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.extracts.PIECE_BYTES", 7)
    await auditor.get(f"{V1}/export")
    await nothing_is_held(served)
    async with auditor.stream("GET", f"{V1}/export") as answer:
        assert answer.status_code == 200
    await nothing_is_held(served)
    monkeypatch.setattr("api.http.held_files.HELD_OF_A_KEY_MAX", 0)
    refused = await auditor.get(f"{V1}/export")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")


async def test_a_file_that_is_read_too_slowly_is_broken_off(
    served: Api, auditor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.extracts.GRACE_SECONDS", -1_000)
    with pytest.raises(httpx.RemoteProtocolError):
        await auditor.get(f"{V1}/export", headers={"Accept-Encoding": "identity"})
    await nothing_is_held(served)


async def test_a_file_that_grows_too_large_is_not_written_to_its_end_and_leaves_nothing(
    served: Api, auditor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.held_files.HELD_BYTES_MAX", 1_000)
    answer = await auditor.get(f"{V1}/export")
    assert (answer.status_code, answer.json()["code"]) == (500, "extract-too-large")
    await nothing_is_held(served)
    folder = served.backend.book.data_folder / "extracts"
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_what_a_killed_process_left_unfinished_goes_with_time(
    served: Api, auditor: httpx.AsyncClient
) -> None:
    folder = served.backend.book.data_folder / "extracts"
    old, new = folder / "tmp-old", folder / "tmp-new"
    for each in (old, new):
        each.mkdir(parents=True)
    os.utime(old, (0, 0))
    await auditor.get(f"{V1}/export")
    assert (old.exists(), new.exists()) == (False, True)
    new.rmdir()


async def test_every_stream_is_listed_once_with_the_head_its_entries_lead_to(
    auditor: httpx.AsyncClient,
) -> None:
    streams = await paged(auditor, "streams", 2)
    assert streams == await paged(auditor, "streams")
    names = [each["stream"] for each in streams]
    assert len(set(names)) == len(names)
    assert {"registry", "meter/m-0", "meter/m-1"} <= set(names)
    positions = []
    for stream in streams:
        rows = await paged(auditor, f"streams/{stream['stream']}/entries", 3)
        previous = NO_HASH
        for sequence, row in enumerate(rows, start=1):
            assert row["sequence"] == sequence
            entry = entry_bytes(
                "campus", stream["stream"], sequence, previous, bytes.fromhex(row["body_hash"])
            )
            previous = entry_hash(entry)
            assert row["entry_hash"] == previous.hex()
        assert (stream["sequence"], stream["hash"]) == (len(rows), previous.hex())
        positions += [row["position"] for row in rows]
    assert sorted(positions) == list(range(len(positions))), "together they are the log"


async def test_an_auditor_reads_what_the_export_has_as_the_operator_does(
    served: Api, auditor: httpx.AsyncClient
) -> None:
    async with served.client("operator") as operator:
        for stream in await paged(auditor, "streams"):
            path = f"streams/{stream['stream']}/entries"
            all_of_it, seen = await paged(operator, path), await paged(auditor, path)
            for row in all_of_it:
                assert sha256(row["body"].encode()).hexdigest() == row["body_hash"]
            assert seen == all_of_it


async def test_a_signature_can_be_checked_with_nothing_but_the_answer(auditor: httpx.AsyncClient) -> None:
    streams = [each["stream"] for each in await paged(auditor, "streams")]
    entries = {
        (stream, row["sequence"]): row
        for stream in streams
        for row in await paged(auditor, f"streams/{stream}/entries")
    }
    signers = set()
    for position in {row["envelope"] for row in entries.values()}:
        answer = await told(auditor, f"envelopes/{position}")
        lines = "".join(
            f"{run['stream']} {run['first']} {run['last']} {run['head']}\n" for run in answer["runs"]
        )
        text = f"energy-ledger/envelope/v1\ncampus\n{answer['device']}\n{lines}"
        public, signature = bytes.fromhex(answer["public_key"]), b64decode(answer["signature"])
        signer = Ed25519PublicKey.from_public_bytes(public)
        signer.verify(signature, text.encode())
        with pytest.raises(InvalidSignature):
            signer.verify(signature, text.encode() + b" ")
        assert answer["signed_text"] == text
        assert answer["key"] == sha256(public).digest()[:8].hex()
        for run in answer["runs"]:
            assert entries[run["stream"], run["last"]]["entry_hash"] == run["head"]
            before = entries.get((run["stream"], run["first"] - 1))
            assert run["previous"] == (before["entry_hash"] if before else NO_HASH.hex())
        signers.add((answer["device"], answer["key"]))
    devices = [device for device, _ in signers]
    assert {SERVICE, OPERATOR, GATEWAY} <= set(devices)
    assert devices.count(GATEWAY) == 2, "before and after it changed its key"


@pytest.mark.parametrize(
    "path",
    [
        "streams/meter/m-9/entries", "streams/nothing/entries", "streams/meter/B%00/entries",
        "streams/%E0%B8%81/entries", f"streams/meter/{'x' * 300}/entries", "envelopes/999999",
    ],
)  # fmt: skip
async def test_what_is_not_in_the_book_is_not_found(auditor: httpx.AsyncClient, path: str) -> None:
    assert await refused(auditor, path) == (404, "not-found")


async def test_an_envelope_is_found_only_where_it_begins(auditor: httpx.AsyncClient) -> None:
    rows = await paged(auditor, "streams/meter/m-0/entries")
    inside = next(row["position"] for row in rows if row["position"] != row["envelope"])
    assert await refused(auditor, f"envelopes/{inside}") == (404, "not-found")


async def test_an_answer_is_not_sent_again(auditor: httpx.AsyncClient) -> None:
    for path in PATHS[1:]:
        tag = (await auditor.get(f"{V1}/{path}")).headers["etag"]
        again = await auditor.get(f"{V1}/{path}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
