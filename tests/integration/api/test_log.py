"""The log as C2SP's clients see it: rebuilt from bundles and tiles, and proofs that hold against them."""

from base64 import b64decode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from ledger.access import Role
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.merkle import verify_consistency, verify_inclusion
from ledger.note import Checkpoint, InclusionProof, open_checkpoint
from tests.support.api import V1, Api, api
from tests.support.campus import MORNING
from tests.support.store import migrated
from tests.support.trading import DAY
from tests.unit.ledger import rfc9162

LOG = f"{V1}/log"
QUARTERS = 300
WIDTH = 256


@pytest.fixture(scope="module")
async def served(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("served_log")
    await migrated(dsn)
    async with api(dsn, nats_server, tmp_path_factory.mktemp("api"), public_log=True) as found:
        await found.site.ledgers_clock.sleep_until(MORNING + 10 * DAY)
        for meter in ("m-0", "m-1"):
            await found.site.read(meter, *((quarter, 250 * quarter, 0) for quarter in range(QUARTERS)))
        yield found


@pytest.fixture
async def client(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client() as found:
        yield found


async def fetched(client: httpx.AsyncClient, path: str) -> bytes:
    answer = await client.get(f"{LOG}/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer.content


async def newest(client: httpx.AsyncClient, found: Api) -> Checkpoint:
    return open_checkpoint((await fetched(client, "checkpoint")).decode(), found.site.campus.verifier)


def paths(count: int) -> list[tuple[str, int]]:
    """The names of the tiles that hold so many hashes of one level, and their widths (tlog-tiles)."""
    full, rest = divmod(count, WIDTH)
    return [(f"{n:03d}", WIDTH) for n in range(full)] + ([(f"{full:03d}.p/{rest}", rest)] if rest else [])


async def entries(client: httpx.AsyncClient, size: int) -> list[bytes]:
    """All leaf data: each behind its length in two bytes, big-endian."""
    found: list[bytes] = []
    for name, width in paths(size):
        data, count = await fetched(client, f"tile/entries/{name}"), 0
        while data:
            length = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + length])
            assert len(found[-1]) == length
            data, count = data[2 + length :], count + 1
        assert count == width
    return found


async def leaves(client: httpx.AsyncClient, size: int) -> list[bytes]:
    return [sha256(b"\x00" + entry).digest() for entry in await entries(client, size)]


async def test_the_tree_can_be_rebuilt_from_bundles_and_tiles(client: httpx.AsyncClient, served: Api) -> None:
    checkpoint = await newest(client, served)
    assert checkpoint.size > 2 * WIDTH, "several tiles"
    hashes = await leaves(client, checkpoint.size)
    assert rfc9162.mth(hashes) == checkpoint.root
    level, below = 0, hashes
    while below:
        served_hashes = b"".join(
            [await fetched(client, f"tile/{level}/{name}") for name, _ in paths(len(below))]
        )
        assert served_hashes == b"".join(below), f"level {level}"
        full = len(below) // WIDTH
        below = [rfc9162.mth(below[n * WIDTH : (n + 1) * WIDTH]) for n in range(full)]
        level += 1
    assert level == 2
    assert all(entry.startswith(b"energy-ledger/v1\ncampus\n") for entry in await entries(client, 20))


async def test_a_partial_tile_of_any_width_is_the_beginning_of_the_wider_one(
    client: httpx.AsyncClient, served: Api
) -> None:
    """A client with an older checkpoint asks for the widths of that one."""
    size = (await newest(client, served)).size
    full = await fetched(client, "tile/0/000")
    for width in (1, 2, 17, 255):
        part = await client.get(f"{LOG}/tile/0/000.p/{width}")
        assert part.content == full[: 32 * width]
        assert "immutable" in part.headers["Cache-Control"], "its content never changes"
    last, rest = divmod(size, WIDTH)
    name = f"{last:03d}"
    for wrong in (
        f"{name}.p/{rest + 1}", name, f"{name}.p/0", f"{name}.p/256", f"{last + 1:03d}.p/1",
        "00", "x000/000", "0000", "-01", "999", "x999/x999/x999/x999/x999/x999/999",
    ):  # fmt: skip
        for kind in ("0", "entries"):
            missing = await client.get(f"{LOG}/tile/{kind}/{wrong}")
            assert (missing.status_code, missing.json()["code"]) == (404, "not-found"), wrong
            assert "immutable" not in missing.headers["Cache-Control"], "it may come"
    for path in (
        "tile/2/000",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/64/000.p/1",
        "tile/a/000",
        "tile/1/001",
    ):
        assert (await client.get(f"{LOG}/{path}")).status_code == 404


async def test_only_what_never_changes_is_kept_for_ever(client: httpx.AsyncClient) -> None:
    tile = await client.get(f"{LOG}/tile/0/000")
    note = await client.get(f"{LOG}/checkpoint")
    assert "immutable" in tile.headers["Cache-Control"]
    assert "immutable" not in note.headers["Cache-Control"]
    assert (tile.headers["Content-Type"], note.headers["Content-Type"].split(";")[0]) == (
        "application/octet-stream", "text/plain",
    )  # fmt: skip
    again = await client.get(f"{LOG}/tile/0/000", headers={"If-None-Match": tile.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tile.headers["ETag"]


async def test_every_event_has_a_proof_that_holds_by_another_walk(
    client: httpx.AsyncClient, served: Api
) -> None:
    checkpoint = await newest(client, served)
    hashes = await leaves(client, checkpoint.size)
    for stream, sequence in (
        ("registry", 1),
        ("meter/m-0", 1),
        ("meter/m-0", QUARTERS),
        ("meter/m-1", 299),
        ("market", 2),
    ):
        text = await fetched(client, f"proofs/inclusion?stream={stream}&sequence={sequence}")
        proof = InclusionProof.parse(text.decode())
        note = open_checkpoint(proof.checkpoint, served.site.campus.verifier)
        leaf = hashes[proof.leaf_index]
        assert list(proof.path) == rfc9162.path(proof.leaf_index, hashes[: note.size])
        verify_inclusion(proof.leaf_index, note.size, leaf, list(proof.path), note.root)
        entry = (await entries(client, checkpoint.size))[proof.leaf_index].decode().split("\n")
        assert entry[2:4] == [stream, str(sequence)]


async def test_the_log_only_grew_between_every_two_sizes(client: httpx.AsyncClient, served: Api) -> None:
    size = (await newest(client, served)).size
    for _ in range(2):
        checkpoint = await newest(client, served)
        hashes = await leaves(client, checkpoint.size)
        for first in (1, 2, 3, 7, 255, 256, 257, 300, 511, 512, 513, size - 1, size, checkpoint.size):
            text = (await fetched(client, f"proofs/consistency?first={first}")).decode()
            told, _, note = text.partition("\n\n")
            begin, *lines = told.split("\n")
            assert begin == f"consistency {first} {checkpoint.size}"
            path = [b64decode(line) for line in lines]
            assert path == rfc9162.proof(first, hashes)
            assert open_checkpoint(note, served.site.campus.verifier) == checkpoint
            verify_consistency(first, checkpoint.size, rfc9162.mth(hashes[:first]), checkpoint.root, path)
        quarters = range(QUARTERS, QUARTERS + 9) if checkpoint.size == size else range(0)
        if quarters:
            await served.site.read("m-0", *((quarter, 250 * quarter, 0) for quarter in quarters))


async def test_what_is_not_in_the_log_has_no_proof(client: httpx.AsyncClient, served: Api) -> None:
    size = (await newest(client, served)).size
    for query, status in (
        ("inclusion?stream=meter/m-0&sequence=99999", 404), ("inclusion?stream=meter/none&sequence=1", 404),
        ("inclusion?stream=meter/m-0&sequence=0", 400), ("inclusion?stream=Meter&sequence=1", 422),
        ("inclusion?stream=%00&sequence=1", 422), (f"inclusion?stream=market&sequence={2**70}", 400),
        ("consistency?first=0", 400), (f"consistency?first={size + 100}", 422),
        (f"consistency?first={2**70}", 400), ("consistency", 400), ("consistency?first=x", 400),
    ):  # fmt: skip
        answer = await client.get(f"{LOG}/proofs/{query}")
        assert answer.status_code == status, (query, answer.text)


async def test_a_closed_log_is_for_keys_and_not_for_caches_between(
    database: str, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with api(database, nats_server, tmp_path_factory.mktemp("api")) as found:
        async with found.client() as stranger:
            assert (await stranger.get(f"{LOG}/checkpoint")).status_code == 401
        async with found.client("auditor") as client:
            for path in (
                "checkpoint",
                "tile/0/000.p/5",
                "tile/entries/000.p/5",
                "proofs/consistency?first=1",
            ):
                answer = await client.get(f"{LOG}/{path}")
                assert answer.status_code == 200
                assert "public" not in answer.headers["Cache-Control"]


async def test_in_a_closed_log_nobody_counts_the_events_of_others(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found:
        await found.site.ledgers_clock.sleep_until(MORNING + DAY)
        for meter in ("m-0", "m-1"):
            await found.site.read(meter, (0, 0, 0))
        await found.site.projector.catch_up()
        asked = {
            "all": "checkpoint tile/0/000.p/1 proofs/consistency?first=1 blocks"
            " proofs/inclusion?stream=registry&sequence=1",
            "own": "proofs/inclusion?stream=meter/m-0&sequence=1",
            "others": "tile/entries/000.p/1 proofs/inclusion?stream=meter/m-1&sequence=1"
            " proofs/inclusion?stream=building/b-2&sequence=1",
        }
        sees: tuple[tuple[Role, str], ...] = (
            ("auditor", "all own others"), ("operator", "all own others"), ("building", "all own"),
            ("billing", "all"),
        )  # fmt: skip
        for role, what in sees:
            async with found.client(role, "b-1" if role == "building" else None) as client:
                for kind, urls in asked.items():
                    for url in urls.split():
                        answer = await client.get(f"{LOG}/{url}")
                        is_refused = answer.status_code == 403
                        assert is_refused == (kind not in what.split()), (role, url, answer.text)
                        assert is_refused or answer.status_code in (200, 404), url
