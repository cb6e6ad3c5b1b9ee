"""The client of the book: what it appends is in the book when it returns, and told apart when it is not."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.bus import Bus, BusUnavailable
from ledger.canonical import encode
from ledger.client import BODIES_BYTES_MAX, BookClient, NoReceipt, Refused, batches
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.envelope import EVENTS_MAX
from ledger.event import Event
from ledger.events import BuildingAdded, FeederAdded
from ledger.market_events import InvoiceIssued
from ledger.merkle import ProofError
from ledger.opening import enrolment
from ledger.postgres import PostgresSettings
from ledger.receipt import RECORDED, Answer, read_receipt, sign_receipts
from ledger.registry import OPERATOR, SERVICE
from tests.support.campus import GATEWAY, MORNING, Campus, key, readings
from tests.support.running import Site, bus_settings, running
from tests.support.store import check_book, migrated, read_book

_numbers = count(1)


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database in which every test has a community of its own."""
    yield await migrated(await postgres_server.create_database("client"))
    await postgres_server.drop_database("client")


@pytest.fixture
async def campus() -> AsyncIterator[Campus]:
    """A community that no other test has."""
    campus = Campus(f"client-{next(_numbers)}", meters=2)
    yield campus
    await campus.close()


@pytest.fixture
async def site(store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus) -> AsyncIterator[Site]:
    """Its writer at work."""
    async with running(campus, await campus.opened(store), nats_server) as site:
        yield site


@pytest.fixture
async def bus(nats_server: EmbeddedNats) -> AsyncIterator[Bus]:
    """A connection for clients."""
    async with await Bus.connect(bus_settings(nats_server), "client") as bus:
        yield bus


def client(bus: Bus, campus: Campus, device: str = OPERATOR) -> BookClient:
    """A client that is not open yet."""
    return BookClient(bus, campus.community, device, campus.keys[device], campus.keys[SERVICE].public)


def feeders(begin: int, end: int) -> list[Event]:
    """Harmless facts."""
    return [FeederAdded(feeder=f"f-{number}", name="more") for number in range(begin, end)]


async def _registry(store: PostgresSettings, campus: Campus) -> list[bytes]:
    book = await read_book(store, campus.community)
    check_book(book, campus.verifier, [held.public for held in campus.keys.values()])
    return [row["body"] for row in book.events if row["stream"] == "registry"]


async def test_what_is_appended_is_in_the_book_when_it_returns(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    operator = await client(bus, campus).open()
    for begin in (10, 12):
        await operator.append("registry", feeders(begin, begin + 2))
        assert (await _registry(store, campus))[-2:] == [encode(each) for each in feeders(begin, begin + 2)]


async def test_more_events_than_an_envelope_holds_go_in_several(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    operator = await client(bus, campus).open()
    before = len(await _registry(store, campus))
    await operator.append("registry", feeders(0, EVENTS_MAX + 20))
    assert len(await _registry(store, campus)) == before + EVENTS_MAX + 20


async def test_long_documents_go_in_envelopes_that_the_bus_takes(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    service = await client(bus, campus, SERVICE).open()
    documents = [
        InvoiceIssued(number=f"c-{at}", building="b-1", code="0" * 64, document="x" * 200_000, run=1)
        for at in range(12)
    ]
    await service.append("settlement", documents)
    book = await read_book(store, campus.community)
    assert sum(row["stream"] == "settlement" for row in book.events) == 12


@given(st.lists(st.integers(0, 400_000), max_size=20), st.integers(0, 1_200))
def test_batches_hold_all_bodies_in_order_within_both_limits(sizes: list[int], small: int) -> None:
    bodies = [bytes(size) for size in (*sizes, *[1] * small)]
    found = list(batches(bodies))
    assert [body for batch in found for body in batch] == bodies
    for batch in found:
        assert 0 < len(batch) <= EVENTS_MAX
        assert len(batch) == 1 or sum(map(len, batch)) <= BODIES_BYTES_MAX
    for batch, following in pairwise(found):
        is_full = len(batch) == EVENTS_MAX
        assert is_full or sum(map(len, batch)) + len(following[0]) > BODIES_BYTES_MAX


async def test_appends_at_the_same_time_go_one_after_the_other(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    operator = await client(bus, campus).open()
    await asyncio.gather(*(operator.append("registry", feeders(number, number + 1)) for number in range(8)))
    assert {*(await _registry(store, campus))} >= {encode(each) for each in feeders(0, 8)}


async def test_a_refusal_is_raised_with_its_code_place_and_hint(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    operator = await client(bus, campus).open()
    before = await _registry(store, campus)
    with pytest.raises(Refused) as refused:
        await operator.append("registry", [BuildingAdded(building="b-9", feeder="f-9", name="nowhere")])
    assert refused.value.code == "contradiction"
    assert refused.value.where == f"registry {len(before) + 1}"
    assert "add the feeder first" in refused.value.hint
    assert await _registry(store, campus) == before
    await operator.append("registry", feeders(9, 10))
    await operator.append("registry", [BuildingAdded(building="b-9", feeder="f-9", name="somewhere")])


async def test_a_client_that_fell_behind_is_refused_and_goes_on_from_the_head_it_is_told(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    one, other = await client(bus, campus).open(), await client(bus, campus).open()
    await one.append("registry", feeders(0, 1))
    with pytest.raises(Refused) as refused:
        await other.append("registry", feeders(1, 2))
    assert refused.value.code == "fork"
    await other.append("registry", feeders(1, 2))
    assert (await _registry(store, campus))[-2:] == [encode(each) for each in feeders(0, 2)]


async def test_a_gateway_that_takes_over_continues_the_meters_chain(
    store: PostgresSettings, site: Site, bus: Bus, campus: Campus
) -> None:
    await site.send(GATEWAY, campus.read(0, 4))
    gateway = await client(bus, campus, GATEWAY).open()
    await gateway.append("meter/m-0", readings(4, 6))
    assert (await read_book(store, campus.community)).heads["meter/m-0"].sequence == 6


async def test_sending_again_after_no_receipt_appends_once(
    store: PostgresSettings,
    nats_server: EmbeddedNats,
    bus: Bus,
    campus: Campus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(campus, await campus.opened(store), nats_server):
        operator = await client(bus, campus).open()
    with monkeypatch.context() as impatient:
        impatient.setattr("ledger.client.ANSWER_SECONDS", 0.3)
        with pytest.raises(NoReceipt):
            await operator.append("registry", feeders(0, 2))
    again = campus.writer(store)
    await again.book.open()
    async with running(campus, again, nats_server):
        await operator.append("registry", feeders(0, 2))
    assert (await _registry(store, campus)).count(encode(feeders(0, 1)[0])) == 1


async def test_without_a_writer_a_client_does_not_open(bus: Bus, campus: Campus) -> None:
    with pytest.raises(BusUnavailable):
        await client(bus, campus).open()


async def test_a_receipt_that_the_ledger_did_not_sign_answers_nothing(
    site: Site, bus: Bus, campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await client(bus, campus).open()
    forged = 0

    async def forge(community: str, device: str, data: bytes) -> None:
        """Tell the client that all is recorded, before the ledger can refuse it."""
        nonlocal forged
        answer = Answer(
            code=RECORDED,
            community=campus.community,
            device=OPERATOR,
            envelope=sha256(data).hexdigest(),
            heads=[],
            recorded_at=MORNING,
        )
        (receipt,) = sign_receipts(campus.community, [answer], key("forger"))
        for each in (receipt, b"junk", receipt.replace(b'"index":0', b'"index": 0')):
            await site.bus.publish_receipt(community, device, each)
        forged += 1
        await publish(community, device, data)

    publish = bus.publish_envelope
    monkeypatch.setattr(bus, "publish_envelope", forge)
    site.received.clear()
    twice = enrolment(campus.community, GATEWAY, "gateway", key("other"))
    with pytest.raises(Refused):
        await operator.append("registry", [twice])
    assert forged == 1


async def test_heads_of_another_device_are_not_taken_for_ones_own(
    store: PostgresSettings, nats_server: EmbeddedNats, bus: Bus, campus: Campus
) -> None:
    writer = await campus.opened(store)
    told = await writer.book.tell_heads(GATEWAY)

    async def wrong(device: str) -> bytes:
        return told

    async with await Bus.connect(bus_settings(nats_server), "liar") as liar:
        await liar.serve_heads(campus.community, wrong)
        with pytest.raises(ProofError):
            await client(bus, campus).open()


async def test_receipts_that_nobody_waits_for_are_not_verified(
    site: Site, bus: Bus, campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await client(bus, campus).open()
    verified: list[bytes] = []

    def counted(data: bytes, *others: Any) -> Answer:
        verified.append(data)
        return read_receipt(data, *others)

    monkeypatch.setattr("ledger.client.read_receipt", counted)
    told = Answer(
        code=RECORDED, community=campus.community, device=OPERATOR, envelope="0" * 64, heads=[],
        recorded_at=MORNING,
    )  # fmt: skip
    for receipt in (*sign_receipts(campus.community, [told], campus.keys[SERVICE]), b"junk"):
        await site.bus.publish_receipt(campus.community, OPERATOR, receipt)
    await operator.append("registry", [FeederAdded(feeder="f-9", name="Nine")])
    assert len(verified) == 1, "that of the envelope that was sent"
