"""The writer between a real NATS and a real Postgres: what it records, refuses, parks, seals and answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from itertools import count

import msgspec
import pytest

from ledger.book import OtherKeys
from ledger.bus import subjects
from ledger.canonical import encode
from ledger.clock import VirtualClock
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.entry import EMPTY
from ledger.event import Event
from ledger.events import AlarmRaised, BlockSealed, FeederAdded, KeyRevoked
from ledger.keys import PublicKey
from ledger.merkle import root_hash
from ledger.opened import OtherOpening
from ledger.opening import enrolment, rotation
from ledger.postgres import PostgresSettings
from ledger.postgres.connection import APP
from ledger.postgres.health import RoleBound, check_role
from ledger.receipt import read_receipt
from ledger.registry import OPERATOR, SERVICE
from ledger.writer import WriterSettings
from tests.support.campus import GATEWAY, MORNING, Campus, key, reading, readings, record
from tests.support.running import running
from tests.support.store import Book, check_book, migrated, owner, read_book

_numbers = count(1)
NOW = MORNING + timedelta(days=10)


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database with its tables, in which every test has a community of its own."""
    yield await migrated(await postgres_server.create_database("writer"))
    await postgres_server.drop_database("writer")


@pytest.fixture
async def campus() -> AsyncIterator[Campus]:
    """A community that no other test has."""
    campus = Campus(f"campus-{next(_numbers)}", meters=3)
    yield campus
    await campus.close()


def publics(campus: Campus, *more: PublicKey) -> list[PublicKey]:
    """All keys that signed."""
    return [*(held.public for held in campus.keys.values()), *more]


async def checked(store: PostgresSettings, campus: Campus, *more: PublicKey) -> Book:
    """The book, recomputed from its bodies."""
    book = await read_book(store, campus.community)
    check_book(book, campus.verifier, publics(campus, *more))
    return book


async def test_a_role_that_would_see_an_empty_book_is_told_of_and_nothing_is_written(
    store: PostgresSettings, campus: Campus
) -> None:
    """A dump holds no roles: whoever restores one may have made them by hand."""
    writer = await campus.opened(store)
    assert await record(writer, GATEWAY, campus.read(0, 1)) == ["recorded"]
    async with owner(store) as connection:
        await connection.execute(f"ALTER ROLE {APP} NOBYPASSRLS")
        try:
            with pytest.raises(RoleBound, match="row security"):
                await campus.opened(store)
        finally:
            await connection.execute(f"ALTER ROLE {APP} BYPASSRLS")
        await check_role(connection)


# --- every code, end to end -----------------------------------------------------------------------


@dataclass
class Refused:
    """An envelope that is refused with `code`, told of at `place`."""

    code: str
    make: Callable[[Campus], tuple[str, bytes]]
    place: tuple[str | None, int | None] = (None, None)


def _by_gateway(events: list[Event], stream: str = "meter/m-0") -> Callable[[Campus], tuple[str, bytes]]:
    return lambda campus: (GATEWAY, campus.envelope(GATEWAY, {stream: events}, after=campus.heads))


def _forked(campus: Campus) -> tuple[str, bytes]:
    other = [reading(quarter, 777) for quarter in range(5)]
    return GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": other}, after={})


def _chain_broken(campus: Campus) -> tuple[str, bytes]:
    head = campus.heads["meter/m-0"]
    stranger = {"meter/m-0": head._replace(hash=b"\7" * 32)}
    return GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": readings(10, 12)}, after=stranger)


def _gapped(campus: Campus) -> tuple[str, bytes]:
    far = {"meter/m-1": EMPTY._replace(sequence=40)}
    return GATEWAY, campus.envelope(GATEWAY, {"meter/m-1": readings(0, 2)}, after=far)


def _not_canonical(campus: Campus) -> tuple[str, bytes]:
    device, data = _by_gateway(readings(10, 11))(campus)
    return device, data.replace(b'"device":', b'"device": ')


def _unknown_type(campus: Campus) -> tuple[str, bytes]:
    device, data = _by_gateway(readings(10, 11))(campus)
    return device, data.replace(b"meter-read/1", b"meter\\u0000read")


def _by(device: str, signer: str, stream: str, events: list[Event]) -> Callable[[Campus], tuple[str, bytes]]:
    return lambda campus: (
        device,
        campus.envelope(device, {stream: events}, signer=key(signer), after=campus.heads),
    )


REFUSED = {
    "no envelope at all": Refused("malformed", lambda _: (GATEWAY, b"\x00\xff")),
    "an unknown type, named with a zero byte": Refused("malformed", _unknown_type, ("meter/m-0", 11)),
    "white space": Refused("not-canonical", _not_canonical),
    "a device nobody enrolled": Refused("unknown-device", _by("gw-9", "gw-9", "meter/m-0", readings(10, 11))),
    "a key nobody enrolled": Refused("unknown-device", _by(GATEWAY, "gw-9", "meter/m-0", readings(10, 11))),
    "a broken chain": Refused("chain-broken", _chain_broken, ("meter/m-0", 11)),
    "a fork": Refused("fork", _forked, ("meter/m-0", 1)),
    "missing events": Refused("sequence-gap", _gapped, ("meter/m-1", 41)),
    "a reading from the future": Refused(
        "clock-skew", _by_gateway([reading(10, 1_002_500), reading(961, 2_000_000)]), ("meter/m-0", 12)
    ),
    "a meter that another device reads": Refused(
        "not-permitted", _by_gateway(readings(0, 1), "meter/m-9"), ("meter/m-9", 1)
    ),
    "a fact of the registry by a gateway": Refused(
        "not-permitted", _by_gateway([FeederAdded(feeder="f-9", name="mine")], "registry"), ("registry", 11)
    ),
    "an enrolment of a device that has a key": Refused(
        "contradiction",
        lambda campus: (
            OPERATOR,
            campus.envelope(
                OPERATOR,
                {"registry": [enrolment(campus.community, GATEWAY, "gateway", key("gw-9"))]},
                after=campus.heads,
            ),
        ),
        ("registry", 11),
    ),
}


async def test_every_refusal_is_answered_under_signature_kept_whole_and_harms_nobody(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        assert (await site.send(GATEWAY, campus.read(0, 10))).code == "recorded"
        begin = (await read_book(store, campus.community)).fence["size"]
        for what, refused in REFUSED.items():
            device, data = refused.make(campus)
            answer = await site.send(device, data)
            place = (answer.refusal.stream, answer.refusal.sequence) if answer.refusal else None
            assert (answer.code, place) == (refused.code, refused.place), what
            assert not answer.is_safe
        tampered = campus.read(10, 12)
        wrong = tampered.replace(b"1002750", b"1002751")
        assert (await site.send(GATEWAY, wrong)).code == "bad-signature"
        assert writer.book.size == begin
        assert (await site.send(GATEWAY, tampered)).code == "recorded"
        assert (await site.send(GATEWAY, tampered)).code == "duplicate"
    book = await checked(store, campus)
    assert book.codes() == sorted([*((each.code, 1) for each in REFUSED.values()), ("bad-signature", 1)])
    assert {row["message"] for row in book.quarantine} >= {b"\x00\xff", wrong}
    assert book.fence["size"] == begin + 2


async def test_an_envelope_under_another_devices_name_is_not_permitted(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        answer = await site.send("gw-2", campus.read(0, 3))
    assert answer.code == "not-permitted"
    assert answer.device == "gw-2"


async def test_good_envelopes_pass_beside_bad_ones_in_the_same_batch(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 10))
    items, expected = [], []
    for number, refused in enumerate(REFUSED.values()):
        device, data = refused.make(campus)
        items.append(writer.book.examine(device, data))
        items.append(writer.book.examine(GATEWAY, campus.read(number * 3, number * 3 + 3, meter=2)))
        expected += [refused.code, "recorded"]
    answers = await writer.book.record(items)
    assert [answer.code for answer in answers] == expected
    book = await checked(store, campus)
    assert len([row for row in book.events if row["stream"] == "meter/m-2"]) == 3 * len(REFUSED)


async def test_a_refusal_tells_the_heads_from_which_to_go_on(store: PostgresSettings, campus: Campus) -> None:
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 10))
    device, data = _chain_broken(campus)
    (answer,) = await writer.book.record([writer.book.examine(device, data)])
    assert {head.stream: head.head() for head in answer.heads} == {"meter/m-0": campus.heads["meter/m-0"]}


async def test_a_message_that_is_refused_again_is_counted_and_not_kept_twice(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    assert await record(writer, GATEWAY, b"junk", b"junk") == ["malformed"] * 2
    assert await record(writer, GATEWAY, b"junk") == ["malformed"]
    assert (await checked(store, campus)).codes() == [("malformed", 3)]


@pytest.mark.parametrize("device", ["gw\x00", "GW 1", "a" * 200])
async def test_a_device_name_that_no_device_has_cannot_stop_the_writer(
    store: PostgresSettings, campus: Campus, device: str
) -> None:
    writer = await campus.opened(store)
    assert await record(writer, device, b"junk") == ["malformed"]
    assert await record(writer, GATEWAY, campus.read(0, 2)) == ["recorded"]


# --- retries and overlaps ----------------------------------------------------------------------------


async def test_a_retry_after_a_lost_receipt_appends_nothing(store: PostgresSettings, campus: Campus) -> None:
    writer = await campus.opened(store)
    envelope = campus.read(0, 10)
    assert await record(writer, GATEWAY, envelope, envelope) == ["recorded", "duplicate"]
    assert await record(writer, GATEWAY, campus.read(10, 20), envelope) == ["recorded", "duplicate"]
    assert await record(writer, GATEWAY, envelope) == ["duplicate"]
    book = await checked(store, campus)
    assert len([row for row in book.events if row["stream"] == "meter/m-0"]) == 20
    assert book.quarantine == []


async def test_an_envelope_whose_beginning_is_known_appends_only_its_end(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    long = campus.envelope(
        GATEWAY, {"meter/m-0": readings(0, 10), "meter/m-1": readings(0, 4)}, after=campus.heads
    )
    assert await record(writer, GATEWAY, campus.read(0, 6), long, long) == [
        "recorded",
        "recorded",
        "duplicate",
    ]
    book = await checked(store, campus)
    assert (book.heads["meter/m-0"].sequence, book.heads["meter/m-1"].sequence) == (10, 4)


# --- parked envelopes ------------------------------------------------------------------------------


async def test_envelopes_that_came_too_early_are_recorded_once_the_gap_is_filled(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    first, second, third = campus.read(0, 5), campus.read(5, 9), campus.read(9, 12)
    async with running(campus, writer, nats_server) as site:
        assert [a.code for a in await site.send_all([(GATEWAY, third), (GATEWAY, second)])] == [
            "sequence-gap",
            "sequence-gap",
        ]
        begin = len(site.received)
        assert (await site.send(GATEWAY, first)).code == "recorded"
        assert (await site.answer(second, begin)).code == "recorded"
        assert (await site.answer(third, begin)).code == "recorded"
    book = await checked(store, campus)
    assert book.heads["meter/m-0"].sequence == 12
    assert all(row["resolved_at"] for row in book.quarantine)


async def test_a_parked_envelope_is_recorded_after_all_only_if_its_events_are_those_of_the_book(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    begun = campus.read(0, 2)
    ahead = dict(campus.heads)
    campus.read(2, 6)  # it is never sent
    same = campus.read(6, 8)
    whole = campus.envelope(GATEWAY, {"meter/m-0": readings(2, 7)}, after=ahead)
    other = {"meter/m-0": campus.heads["meter/m-0"]._replace(sequence=6, hash=b"\7" * 32)}
    forked = campus.envelope(GATEWAY, {"meter/m-0": [reading(6, 777)]}, after=other)
    broken = campus.envelope(
        GATEWAY, {"meter/m-0": readings(9, 10)}, after={"meter/m-0": other["meter/m-0"]._replace(sequence=8)}
    )
    async with running(campus, writer, nats_server) as site:
        for data in (begun, same, forked, broken):
            await site.send(GATEWAY, data)
        assert (await site.send(GATEWAY, whole)).code == "recorded"
        assert (await site.answer(same, 4)).code == "recorded"
        await site.send(GATEWAY, whole)
    book = await checked(store, campus)
    told = {
        (row["digest"], row["code"]): (row["resolved_at"] is not None, row["refused_as"])
        for row in book.quarantine
    }
    digest = {data: sha256(data).digest() for data in (same, forked, broken)}
    assert told == {
        (digest[same], "sequence-gap"): (True, None),
        (digest[forked], "sequence-gap"): (True, "fork"),
        (digest[forked], "fork"): (False, None),
        (digest[broken], "sequence-gap"): (True, "chain-broken"),
        (digest[broken], "chain-broken"): (False, None),
    }


async def test_an_envelope_with_two_gaps_waits_for_both(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    first, second = campus.read(0, 2, meter=0), campus.read(0, 2, meter=1)
    both = campus.envelope(GATEWAY, {"meter/m-0": readings(2, 4), "meter/m-1": readings(2, 4)})
    async with running(campus, writer, nats_server) as site:
        assert (await site.send(GATEWAY, both)).code == "sequence-gap"
        begin = len(site.received)
        assert (await site.send(GATEWAY, first)).code == "recorded"
        assert (await site.send(GATEWAY, second)).code == "recorded"
        assert (await site.answer(both, begin)).code == "recorded"
    book = await checked(store, campus)
    assert (book.heads["meter/m-0"].sequence, book.heads["meter/m-1"].sequence) == (4, 4)


async def test_a_parked_envelope_that_still_waits_is_not_judged_at_every_step(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    pieces = [campus.read(quarter, quarter + 1) for quarter in range(6)]
    async with running(campus, writer, nats_server) as site:
        assert (await site.send(GATEWAY, pieces[5])).code == "sequence-gap"
        for piece in pieces[:5]:
            assert (await site.send(GATEWAY, piece)).code == "recorded"
        assert (await site.answer(pieces[5], 1)).code == "recorded"
    assert (await checked(store, campus)).codes() == [("sequence-gap", 1)]


async def test_what_was_parked_is_taken_up_after_a_restart(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    first, second = campus.read(0, 2), campus.read(2, 4)
    assert await record(writer, GATEWAY, second) == ["sequence-gap"]
    await writer.book.close()
    again = campus.writer(store)
    await again.book.open()
    async with running(campus, again, nats_server) as site:
        assert (await site.send(GATEWAY, first)).code == "recorded"
        assert (await site.answer(second)).code == "recorded"
    assert (await checked(store, campus)).heads["meter/m-0"].sequence == 4


# --- the log -------------------------------------------------------------------------------------


async def test_positions_tiles_root_and_checkpoint_follow_from_the_events_at_every_size(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    quarter, sizes = 0, []
    for events in (1, 200, 45, 1, 1, 1, 250, 12, 490):  # the book begins with 10 events: 256 and 512 are met
        await record(writer, GATEWAY, campus.read(quarter, quarter + events))
        quarter += events
        sizes.append(writer.book.size)
        await checked(store, campus)
    assert {256, 257, 258} <= set(sizes)


async def test_a_batch_across_several_tiles_is_one_step(store: PostgresSettings, campus: Campus) -> None:
    writer = await campus.opened(store, settings=WriterSettings(batch_events=2_000))
    envelopes = [campus.read(part * 400, part * 400 + 400, meter) for meter in range(3) for part in range(2)]
    assert await record(writer, GATEWAY, *envelopes) == ["recorded"] * 6
    book = await checked(store, campus)
    assert len(book.tiles) == book.fence["size"] // 256 == 9


@pytest.mark.soak
async def test_a_log_of_more_than_65536_events_has_tiles_of_two_levels(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store, VirtualClock(MORNING + timedelta(days=800)))
    for begin in range(0, 66_000, 5_000):
        envelopes = [campus.read(at, at + 500) for at in range(begin, begin + 5_000, 500)]
        assert await record(writer, GATEWAY, *envelopes) == ["recorded"] * 10
        if writer.book.size > 65_000:
            await writer.book.close()
            await writer.book.open()
    book = await checked(store, campus)
    assert [(row["level"], row["index"]) for row in book.tiles if row["level"]] == [(1, 0)]


async def test_a_writer_that_is_opened_again_goes_on_as_if_it_had_never_stopped(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    quarter = 0
    for events in (3, 243, 256, 30):
        await record(writer, GATEWAY, campus.read(quarter, quarter + events))
        quarter += events
        size, checkpoint = writer.book.size, writer.book.checkpoint
        await writer.book.close()
        writer = campus.writer(store)
        await writer.book.open()
        assert (writer.book.size, writer.book.checkpoint) == (size, checkpoint)
    await checked(store, campus)


# --- blocks ----------------------------------------------------------------------------------------


async def _blocks(store: PostgresSettings, campus: Campus) -> list[BlockSealed]:
    book = await checked(store, campus)
    leaves = [row["entry_hash"] for row in book.events]
    bodies = [row["body"] for row in book.events if row["stream"] == f"device/{SERVICE}"]
    blocks = [msgspec.json.decode(body, type=BlockSealed) for body in bodies]
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    for block in blocks:
        assert block.root == root_hash(leaves[: block.size]).hex()
    return blocks


async def test_a_block_seals_all_events_before_it_and_nothing_is_sealed_twice(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    sizes = []
    for begin in (0, 7):
        await record(writer, GATEWAY, campus.read(begin, begin + 7))
        sizes.append(writer.book.size)
        assert await writer.book.seal() is not None
        assert await writer.book.seal() is None
    assert [block.size for block in await _blocks(store, campus)] == sizes


async def test_blocks_asked_for_at_the_same_time_do_not_fall_over_one_another(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 7))
    sealed = await asyncio.gather(*(writer.book.seal() for _ in range(5)))
    assert len([block for block in sealed if block]) == 1
    assert len(await _blocks(store, campus)) == 1


async def test_a_block_is_sealed_when_enough_events_or_enough_time_have_passed(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    clock = VirtualClock(NOW)
    settings = WriterSettings(seal_seconds=900, seal_events=50, wait_seconds=0.02)
    writer = await campus.opened(store, clock, settings)
    async with running(campus, writer, nats_server) as site:
        await site.send(GATEWAY, campus.read(0, 10))
        await asyncio.sleep(0.2)
        assert writer.book.registry.last_block is None
        await site.send(GATEWAY, campus.read(10, 60))
        async with asyncio.timeout(5):
            while writer.book.registry.last_block is None:
                await asyncio.sleep(0.02)
        await site.send(GATEWAY, campus.read(60, 62))
        clock.advance(timedelta(seconds=901))
        async with asyncio.timeout(5):
            while writer.book.registry.last_block.number < 2:
                await asyncio.sleep(0.02)
        clock.advance(timedelta(seconds=10_000))
        await asyncio.sleep(0.2)
    assert [block.number for block in await _blocks(store, campus)] == [1, 2]


async def test_the_time_to_a_block_counts_from_the_oldest_unsealed_event_however_often_a_writer_starts(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    clock, settings = VirtualClock(NOW), WriterSettings(seal_seconds=900, wait_seconds=0.02)
    writer = await campus.opened(store, clock, settings)
    assert await writer.book.seal() is not None
    clock.advance(timedelta(seconds=5_000))  # nothing is unsealed: no block is due
    assert await record(writer, GATEWAY, campus.read(0, 2)) == ["recorded"]
    recorded_at = clock.now()
    await writer.book.close()
    for number in range(3):  # each writer lives for less than the time to a block
        clock.advance(timedelta(seconds=299))
        again = campus.writer(store, clock, settings)
        await again.book.open()
        async with running(campus, again, nats_server) as site:
            assert (await site.send(GATEWAY, campus.read(2 + number, 3 + number))).code == "recorded"
            await asyncio.sleep(0.2)
    assert [block.number for block in await _blocks(store, campus)] == [1]
    clock.advance(timedelta(seconds=3))
    last = campus.writer(store, clock, settings)
    await last.book.open()
    async with running(campus, last, nats_server), asyncio.timeout(5):
        while last.book.registry.last_block == again.book.registry.last_block:
            await asyncio.sleep(0.02)
    assert [block.number for block in await _blocks(store, campus)] == [1, 2]
    sealed = (await _blocks(store, campus))[1].sealed_at
    assert sealed - recorded_at == timedelta(seconds=900)
    assert last.book.unsealed_since is None


@pytest.mark.parametrize("seconds", [-3_600, 900])
async def test_what_is_unsealed_is_sealed_in_time_whichever_way_the_clock_was_put(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus, seconds: int
) -> None:
    clock = VirtualClock(NOW)
    writer = await campus.opened(store, clock, WriterSettings(seal_seconds=900, wait_seconds=0.02))
    clock.advance(timedelta(seconds=seconds))
    async with running(campus, writer, nats_server), asyncio.timeout(5):
        while writer.book.registry.last_block is None:
            await asyncio.sleep(0.02)
    assert len(await _blocks(store, campus)) == 1


async def test_a_block_can_be_asked_for_and_is_told_as_its_canonical_bytes(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        size = writer.book.size
        first = await site.bus.ask_seal(campus.community)
        assert await site.bus.ask_seal(campus.community) == first
    (block,) = await _blocks(store, campus)
    assert block.size == size
    told = {
        "community": campus.community, "number": 1, "previous": "0" * 64, "root": block.root,
        "sealed_at": "2026-06-11T00:00:00Z", "size": size,
    }  # fmt: skip
    assert first == encode(told)


# --- keys ------------------------------------------------------------------------------------------


async def test_a_rotated_key_counts_from_its_place_in_the_book_on(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    old, new = campus.keys[GATEWAY], key("gw-1 next")
    rotate = campus.envelope(GATEWAY, {f"device/{GATEWAY}": [rotation(campus.community, GATEWAY, new)]})
    before = campus.read(0, 2)
    campus.keys[GATEWAY] = new
    after = campus.read(2, 4)
    stale = campus.envelope(GATEWAY, {"meter/m-1": readings(0, 2)}, signer=old, after={})
    async with running(campus, writer, nats_server) as site:
        sent = [before, rotate, after, stale]
        answers = await site.send_all([(GATEWAY, data) for data in sent])
    assert [answer.code for answer in answers] == ["recorded", "recorded", "recorded", "key-revoked"]
    await checked(store, campus, old.public)


@pytest.mark.parametrize("is_opened_again", [True, False])
async def test_the_same_rotation_again_is_a_duplicate_and_writes_nothing(
    store: PostgresSettings, campus: Campus, is_opened_again: bool
) -> None:
    writer = await campus.opened(store)
    old, new = campus.keys[GATEWAY], key("gw-1 next")
    before = campus.read(0, 2)
    runs: dict[str, list[Event]] = {
        f"device/{GATEWAY}": [rotation(campus.community, GATEWAY, new)], "meter/m-0": readings(2, 4),
    }  # fmt: skip
    rotate = campus.envelope(GATEWAY, runs)
    assert await record(writer, GATEWAY, before, rotate, rotate) == ["recorded", "recorded", "duplicate"]
    campus.keys[GATEWAY] = new
    assert await record(writer, GATEWAY, campus.read(4, 6)) == ["recorded"]
    size = writer.book.size
    if is_opened_again:
        await writer.book.close()
        writer = campus.writer(store)
        await writer.book.open()
    longer = campus.envelope(GATEWAY, {"meter/m-0": readings(0, 9)}, signer=old, after={})
    forked = campus.envelope(GATEWAY, {"meter/m-0": [reading(0, 7)]}, signer=old, after={})
    sent = [rotate, longer, before, forked, rotate]
    said = ["duplicate", "key-revoked", "duplicate", "key-revoked", "duplicate"]
    assert await record(writer, GATEWAY, *sent) == said
    assert writer.book.size == size
    book = await checked(store, campus, old.public)
    assert book.codes() == [("key-revoked", 1)] * 2


@pytest.mark.parametrize("as_one_batch", [True, False])
async def test_a_revoked_key_counts_no_more_from_its_place_in_the_book_on(
    store: PostgresSettings, campus: Campus, as_one_batch: bool
) -> None:
    writer = await campus.opened(store)
    held = campus.keys[GATEWAY]
    revoked = KeyRevoked(device=GATEWAY, key=held.public.id, reason="lost")
    sent = [
        (GATEWAY, campus.read(0, 2)),
        (OPERATOR, campus.envelope(OPERATOR, {"registry": [revoked]})),
        (GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": readings(2, 4)}, after=campus.heads)),
    ]
    if as_one_batch:
        answers = await writer.book.record([writer.book.examine(*each) for each in sent])
    else:
        answers = [(await writer.book.record([writer.book.examine(*each)]))[0] for each in sent]
    assert [answer.code for answer in answers] == ["recorded", "recorded", "key-revoked"]
    again = enrolment(campus.community, GATEWAY, "gateway", key("gw-1 again"))
    campus.keys[GATEWAY] = key("gw-1 again")
    assert await record(writer, OPERATOR, campus.envelope(OPERATOR, {"registry": [again]})) == ["recorded"]
    assert await record(writer, GATEWAY, campus.read(2, 4)) == ["recorded"]
    await checked(store, campus, held.public)


async def test_an_envelope_judged_before_a_key_was_revoked_is_judged_again(
    store: PostgresSettings, campus: Campus
) -> None:
    writer, other = await campus.opened(store), campus.writer(store)
    await other.book.open()
    early = writer.book.examine(GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": readings(0, 2)}, after={}))
    revoked = KeyRevoked(device=GATEWAY, key=campus.keys[GATEWAY].public.id, reason="lost")
    assert await record(other, OPERATOR, campus.envelope(OPERATOR, {"registry": [revoked]})) == ["recorded"]
    await other.book.close()
    await writer.book.close()  # as it does when the store went away: the state is read again
    (answer,) = await writer.book.record([early])
    assert answer.code == "key-revoked"


async def test_a_key_that_came_with_a_parked_envelope_counts_for_what_was_judged_meanwhile(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    old, new = campus.keys[GATEWAY], key("gw-1 next")
    first = campus.read(0, 2)
    parked = campus.envelope(
        GATEWAY,
        {
            f"device/{GATEWAY}": [rotation(campus.community, GATEWAY, new)],
            "meter/m-0": readings(2, 4),
        },
    )
    stale = [
        campus.envelope(GATEWAY, {"meter/m-1": readings(0, 400)}, signer=old, after={}) for _ in range(20)
    ]
    async with running(campus, writer, nats_server) as site:
        assert (await site.send(GATEWAY, parked)).code == "sequence-gap"
        begin = len(site.received)
        await site.send_all([(GATEWAY, data) for data in (first, *stale)])
        assert (await site.answer(parked, begin)).code == "recorded"
    campus.keys[GATEWAY] = new
    book = await checked(store, campus, old.public)
    rotated = next(row["position"] for row in book.events if row["stream"] == f"device/{GATEWAY}")
    late = [row["position"] for row in book.envelopes if row["key"] == old.public.id]
    assert max(late) <= rotated, "nothing signed with the old key stands behind the rotation"


# --- two writers -----------------------------------------------------------------------------------


async def test_two_writers_of_one_community_append_everything_exactly_once(
    store: PostgresSettings, campus: Campus
) -> None:
    writers = [await campus.opened(store), campus.writer(store)]
    await writers[1].book.open()
    envelopes = [[campus.read(part * 5, part * 5 + 5, meter) for part in range(8)] for meter in range(2)]

    async def work(number: int) -> list[str]:
        codes = []
        for envelope in envelopes[number]:
            codes += await record(writers[number], GATEWAY, envelope)
            await asyncio.sleep(0)
        return codes

    codes = await asyncio.gather(work(0), work(1))
    assert codes == [["recorded"] * 8] * 2
    book = await checked(store, campus)
    assert [book.heads[f"meter/m-{meter}"].sequence for meter in range(2)] == [40, 40]


async def test_the_same_envelope_at_two_writers_is_recorded_by_one_of_them(
    store: PostgresSettings, campus: Campus
) -> None:
    writers = [await campus.opened(store), campus.writer(store)]
    await writers[1].book.open()
    envelope = campus.read(0, 9)
    codes = await asyncio.gather(*(record(writer, GATEWAY, envelope) for writer in writers))
    assert sorted(codes) == [["duplicate"], ["recorded"]]
    await checked(store, campus)


async def test_a_writer_that_fell_behind_refuses_nothing_that_the_book_allows(
    store: PostgresSettings, campus: Campus
) -> None:
    writer, other = await campus.opened(store), campus.writer(store)
    await other.book.open()
    campus.keys["gw-2"] = key("gw-2")
    enrol = enrolment(campus.community, "gw-2", "gateway", key("gw-2"))
    assert await record(other, OPERATOR, campus.envelope(OPERATOR, {"registry": [enrol]})) == ["recorded"]
    alarm = AlarmRaised(at=MORNING, alarm="door-open", detail="", salt="A" * 16)
    sent = campus.envelope("gw-2", {"device/gw-2": [alarm]})
    assert await record(writer, "gw-2", sent) == ["recorded"]
    assert (await checked(store, campus)).quarantine == []


async def test_two_writers_seal_one_chain_of_blocks(store: PostgresSettings, campus: Campus) -> None:
    writers = [await campus.opened(store), campus.writer(store)]
    await writers[1].book.open()
    for begin in range(0, 12, 3):
        await record(writers[begin % 2], GATEWAY, campus.read(begin, begin + 3))
        await asyncio.gather(*(writer.book.seal() for writer in writers))
    await _blocks(store, campus)


async def test_two_writers_that_start_at_once_open_one_book(store: PostgresSettings, campus: Campus) -> None:
    writers = [campus.writer(store), campus.writer(store)]
    await asyncio.gather(*(writer.book.open() for writer in writers))
    await asyncio.gather(*(writer.book.open_community(campus.opening()) for writer in writers))
    assert len((await checked(store, campus)).events) == 1


# --- heads and receipts ------------------------------------------------------------------------------


async def test_a_device_is_told_the_signed_heads_of_its_streams(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        await site.send(GATEWAY, campus.read(0, 4))
        told = read_receipt(
            await site.bus.ask_heads(campus.community, GATEWAY),
            campus.community,
            campus.keys[SERVICE].public,
        )
        nobody = read_receipt(
            await site.bus.ask_heads(campus.community, "gw-9"), campus.community, campus.keys[SERVICE].public
        )
    assert {head.stream: head.head() for head in told.heads} == {
        "meter/m-0": campus.heads["meter/m-0"],
        "meter/m-1": EMPTY,
        "meter/m-2": EMPTY,
        f"device/{GATEWAY}": EMPTY,
    }
    assert (told.code, nobody.code, nobody.heads) == ("heads", "heads", [])


async def test_heads_are_told_again_after_the_store_has_dropped_the_connection(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = await campus.opened(store)
    await writer.book.tell_heads(GATEWAY)
    async with owner(store) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'energy-ledger writer'"
        )
    async with asyncio.timeout(5):
        told = read_receipt(
            await writer.book.tell_heads(GATEWAY), campus.community, campus.keys[SERVICE].public
        )
    assert len(told.heads) == 4


async def test_a_ledger_that_lost_its_keys_does_not_go_on_under_others(
    store: PostgresSettings, campus: Campus
) -> None:
    await campus.opened(store)
    opening = campus.opening()
    for lost in ("service", "log"):
        changed = Campus(campus.community)
        if lost == "service":
            changed.keys[SERVICE] = key("another")
        else:
            changed.log_key = key("another")
        writer = changed.writer(store)
        await writer.book.open()
        with pytest.raises(OtherKeys):
            await writer.book.open_community(opening)
        await changed.close()


@pytest.mark.parametrize("change", [{"zone": "Europe/Berlin"}, {"interval_minutes": 30}, {"currency": "EUR"}])
async def test_what_a_book_was_opened_with_never_changes(
    store: PostgresSettings, campus: Campus, change: dict[str, object]
) -> None:
    writer = await campus.opened(store)
    size = writer.book.size
    with pytest.raises(OtherOpening, match=str(next(iter(change.values())))):
        await writer.book.open_community(msgspec.structs.replace(campus.opening(), **change))
    await writer.book.open_community(campus.opening())
    assert writer.book.size == size


async def test_a_book_is_opened_by_its_own_service_and_by_nobody_else(
    store: PostgresSettings, campus: Campus
) -> None:
    writer = campus.writer(store)
    await writer.book.open()
    early = campus.envelope(OPERATOR, {"registry": [FeederAdded(feeder="f", name="f")]}, after={})
    assert await record(writer, OPERATOR, early) == ["not-permitted"]
    await campus.open_book(writer)
    book = await checked(store, campus)
    assert book.events[0]["stream"] == "registry"
    assert b"community-opened/1" in book.events[0]["body"]


async def test_a_header_on_an_envelope_is_no_word_of_the_server(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        subject = subjects.envelopes(campus.community, GATEWAY)
        for status in ("404", "409", "503"):
            await site.bus._client.publish(subject, b"junk", headers={"Status": status})
        assert (await site.send(GATEWAY, campus.read(0, 2))).code == "recorded"
        assert (await site.answer(b"junk", 1)).code == "malformed"


async def test_an_answer_to_a_name_that_no_device_has_is_not_sent(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        await site.bus.publish_envelope(campus.community, "Gw\u202e", b"junk")
        assert (await site.send(GATEWAY, campus.read(0, 2))).code == "recorded"
    assert (await checked(store, campus)).codes() == [("malformed", 1)]


async def test_a_subject_that_is_not_utf8_silences_nobody(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    writer = await campus.opened(store)
    async with running(campus, writer, nats_server) as site:
        prefix = subjects.envelopes(campus.community, "x").encode()[:-1]
        site.bus._client._transport.write(b"PUB " + prefix + b"\xff\xfe 1\r\nx\r\n")
        await site.bus._client.flush()
        for quarter in range(3):
            sent = campus.read(2 * quarter, 2 * quarter + 2)
            assert (await site.send(GATEWAY, sent)).code == "recorded"
        told = await site.bus._jetstream.consumer_info(subjects.STREAM, f"writer-{campus.community}")
        assert told.num_ack_pending == 0
