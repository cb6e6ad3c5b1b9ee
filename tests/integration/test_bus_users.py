"""What each user of NATS may say and hear, held against a table written a second time, on the real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # the library has no types
import pytest

from ledger.bus import Bus, BusRefused, BusSettings, BusUnavailable, Delivery, Intake, User
from ledger.bus.nkey import user_nkey
from ledger.bus.users import SERVICES, users_text
from ledger.embedded import EmbeddedNats, NatsServerSettings
from ledger.keys import SigningKey, b64

COMMUNITY = "campus"
DEVICES = ("gw-1", "gw-2")
KEYS = {name: SigningKey.generate() for name in (*SERVICES, *DEVICES)}

PUBLISH = {
    "ledger.campus.envelopes.gw-1": {"gw-1", "api"},
    "ledger.campus.envelopes.gw-2": {"gw-2", "api"},
    "ledger.campus.envelopes.operator": {"operator", "api"},
    "ledger.campus.envelopes.service": {"settler", "api"},
    "ledger.campus.envelopes": set(),
    "ledger.elsewhere.envelopes.gw-1": set(),
    "ledger.campus.heads.gw-1": {"gw-1", "api"},
    "ledger.campus.heads.gw-2": {"gw-2", "api"},
    "ledger.campus.heads.operator": {"operator", "api"},
    "ledger.campus.heads.service": {"settler", "api"},
    "ledger.campus.seal.now": {"operator"},
    "ledger.campus.receipts.gw-1": {"writer"},
    "ledger.campus.receipts.gw-2": {"writer"},
    "ledger.elsewhere.receipts.gw-1": set(),
    "ledger.campus.inbox.device.gw-1.x": {"writer"},
    "ledger.campus.inbox.device.gw-2.x": {"writer"},
    "ledger.campus.inbox.service.operator.x": {"writer"},
    "ledger.elsewhere.inbox.device.gw-1.x": set(),
    "_INBOX.x": set(),
    "anything": set(),
    "$JS.API.INFO": set(),
    "$JS.API.STREAM.NAMES": set(),
    "$JS.API.STREAM.CREATE.ENVELOPES": {"writer"},
    "$JS.API.STREAM.CREATE.ANOTHER": set(),
    "$JS.API.STREAM.UPDATE.ENVELOPES": set(),
    "$JS.API.STREAM.INFO.ENVELOPES": {"writer"},
    "$JS.API.STREAM.INFO.ANOTHER": set(),
    "$JS.API.STREAM.DELETE.ENVELOPES": set(),
    "$JS.API.STREAM.PURGE.ENVELOPES": set(),
    "$JS.API.STREAM.SNAPSHOT.ENVELOPES": set(),
    "$JS.API.STREAM.RESTORE.ENVELOPES": set(),
    "$JS.API.STREAM.MSG.GET.ENVELOPES": set(),
    "$JS.API.STREAM.MSG.DELETE.ENVELOPES": set(),
    "$JS.API.STREAM.LEADER.STEPDOWN.ENVELOPES": set(),
    "$JS.API.DIRECT.GET.ENVELOPES": set(),
    "$JS.API.CONSUMER.CREATE.ENVELOPES": set(),
    "$JS.API.CONSUMER.CREATE.ENVELOPES.spy": set(),
    "$JS.API.CONSUMER.DURABLE.CREATE.ENVELOPES.spy": set(),
    "$JS.API.CONSUMER.DURABLE.CREATE.ENVELOPES.writer-campus": {"writer"},
    "$JS.API.CONSUMER.DURABLE.CREATE.ENVELOPES.writer-elsewhere": set(),
    "$JS.API.CONSUMER.DELETE.ENVELOPES.writer-campus": set(),
    "$JS.API.CONSUMER.MSG.NEXT.ENVELOPES.writer-campus": {"writer"},
    "$JS.API.CONSUMER.MSG.NEXT.ENVELOPES.writer-elsewhere": set(),
    "$JS.ACK.ENVELOPES.writer-campus.1.1.1.1.0": {"writer"},
    "$JS.ACK.ENVELOPES.writer-elsewhere.1.1.1.1.0": set(),
    "$SYS.REQ.USER.INFO": set(),
    "$SYS.REQ.SERVER.PING": set(),
}
"""By subject: who may publish to it. Nobody else may, and to nothing else."""

SUBSCRIBE = {
    "ledger.campus.receipts.gw-1": {"gw-1", "api"},
    "ledger.campus.receipts.gw-2": {"gw-2", "api"},
    "ledger.campus.receipts.operator": {"operator", "api"},
    "ledger.campus.receipts.service": {"settler", "api"},
    "ledger.campus.receipts.*": {"api"},
    "ledger.campus.receipts.>": {"api"},  # nats-server takes `>` for one token here, as `*` is
    "ledger.campus.envelopes.gw-1": set(),
    "ledger.campus.envelopes.*": set(),
    "ledger.*.envelopes.*": set(),
    "ledger.campus.heads.*": set(),
    "ledger.campus.heads.* writers": {"writer"},
    "ledger.campus.seal.now writers": {"writer"},
    "ledger.campus.seal.now": set(),
    "ledger.campus.inbox.device.gw-1.>": {"gw-1"},
    "ledger.campus.inbox.device.gw-2.>": {"gw-2"},
    "ledger.campus.inbox.service.writer.>": {"writer"},
    "ledger.campus.inbox.service.api.>": {"api"},
    "ledger.campus.inbox.service.settler.>": {"settler"},
    "ledger.campus.inbox.service.operator.>": {"operator"},
    "ledger.campus.inbox.>": set(),
    "ledger.campus.>": set(),
    "ledger.>": set(),
    ">": set(),
    "_INBOX.>": set(),
    "$JS.>": set(),
    "$JS.API.>": set(),
    "$JS.EVENT.>": set(),
    "$SYS.>": set(),
}
"""By subject, with a queue's name behind it where there is one: who may subscribe to it."""


def user(name: str) -> User:
    return User(COMMUNITY, "service" if name in SERVICES else "device", name, KEYS[name])


def listed(*devices: str) -> str:
    services = {name: KEYS[name].public for name in SERVICES}
    return users_text(COMMUNITY, services, {name: KEYS[name].public for name in devices})


@pytest.fixture(scope="module")
async def nats(server_root: Path) -> AsyncIterator[EmbeddedNats]:
    settings = NatsServerSettings(users=listed(*DEVICES))
    async with EmbeddedNats(server_root / "users", settings) as server:
        yield server


async def connect(nats: EmbeddedNats, name: str) -> Bus:
    return await Bus.connect(BusSettings(url=nats.url, monitor_url=nats.monitor_url), name, user(name))


async def may_publish(bus: Bus, subject: str) -> bool:
    await bus._client.publish(subject, b"{}")
    await bus._client.flush()
    return not bus._ear.is_denied(subject)


async def may_subscribe(bus: Bus, pattern: str) -> bool:
    subject, _, queue = pattern.partition(" ")
    bus._ear._denied.clear()
    await bus._client.subscribe(subject, queue=queue)
    await bus._client.flush()
    return not bus._ear.is_denied(subject)


@pytest.mark.parametrize("name", KEYS)
async def test_everybody_says_and_hears_what_its_work_takes_and_nothing_else(
    nats: EmbeddedNats, name: str
) -> None:
    async with await connect(nats, name) as bus:
        said = {subject for subject in PUBLISH if await may_publish(bus, subject)}
        heard = {pattern for pattern in SUBSCRIBE if await may_subscribe(bus, pattern)}
    assert said == {subject for subject, who in PUBLISH.items() if name in who}
    assert heard == {pattern for pattern, who in SUBSCRIBE.items() if name in who}


@asynccontextmanager
async def at_work(nats: EmbeddedNats, *names: str) -> AsyncIterator[dict[str, Bus]]:
    """Connections of users, beside a writer that answers everybody with the name of who asked."""

    async def answer(device: str) -> bytes:
        return device.encode()

    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(await connect(nats, name)) for name in ("writer", *names)
        }
        await found["writer"].ensure_stream()
        await found["writer"].serve_heads(COMMUNITY, answer)
        await found["writer"].serve_seal(COMMUNITY, answer)
        yield found


async def test_what_everybody_works_with_comes_to_an_inbox_of_its_own(nats: EmbeddedNats) -> None:
    async with at_work(nats, "gw-1", "api", "settler", "operator") as bus:
        intake = bus["writer"].intake(COMMUNITY)
        for name, device in (
            ("gw-1", "gw-1"),
            ("api", "gw-2"),
            ("settler", "service"),
            ("operator", "operator"),
        ):
            received: asyncio.Queue[bytes] = asyncio.Queue()
            await bus[name].on_receipts(COMMUNITY, device, received.put)
            assert await bus[name].ask_heads(COMMUNITY, device) == device.encode()
            await bus[name].publish_envelope(COMMUNITY, device, name.encode())
            async with asyncio.timeout(10):
                while not (taken := await intake.take(10, 1)):
                    pass
                (delivery,) = taken
                assert (delivery.device, delivery.data) == (device, name.encode())
                await bus["writer"].publish_receipt(COMMUNITY, device, b"receipt")
                await delivery.done()
                assert await received.get() == b"receipt"
        assert await bus["operator"].ask_seal(COMMUNITY) == b"now"
        await intake.close()


async def test_what_a_device_has_no_right_to_is_refused_in_a_code_that_says_so(nats: EmbeddedNats) -> None:
    async def never(_: bytes) -> None:
        raise AssertionError

    async with at_work(nats, "gw-1") as bus:
        with pytest.raises(BusRefused, match="no right to it") as refused:
            await bus["gw-1"].on_receipts(COMMUNITY, "gw-2", never)
        assert (refused.value.code, refused.value.where) == ("not-authorised", "ledger.campus.receipts.gw-2")
        with pytest.raises(BusRefused, match="NATS gives device gw-1 no right to it"):
            await bus["gw-1"].publish_envelope(COMMUNITY, "gw-2", b"{}")
        assert await bus["gw-1"].ask_heads(COMMUNITY, "gw-1") == b"gw-1"


async def taken(intake: Intake) -> list[Delivery]:
    """All that waits, taken for good."""
    found: list[Delivery] = []
    while deliveries := await intake.take(100, 1):
        for delivery in deliveries:
            await delivery.done()
        found += deliveries
    return found


@pytest.mark.parametrize(
    "place",
    [
        "$JS.API.STREAM.PURGE.ENVELOPES",
        "$JS.API.STREAM.DELETE.ENVELOPES",
        "$JS.API.CONSUMER.DELETE.ENVELOPES.writer-campus",
        "$JS.API.CONSUMER.MSG.NEXT.ENVELOPES.writer-campus",
        "$JS.API.STREAM.LEADER.STEPDOWN.ENVELOPES",
        "$JS.ACK.ENVELOPES.writer-campus.1.1.1.1.0",
        "ledger.campus.receipts.gw-2",
        "ledger.campus.envelopes.gw-2",
    ],
)
async def test_no_place_to_answer_that_a_device_gives_moves_others_to_do_what_it_may_not(
    nats: EmbeddedNats, place: str
) -> None:
    """JetStream acknowledges wherever a message says: an acknowledgement may come where an envelope should,
    which is in no envelope's form and goes into quarantine. The writer answers at inboxes alone."""
    async with at_work(nats, "gw-1") as bus:
        intake = bus["writer"].intake(COMMUNITY)
        await taken(intake)
        await bus["gw-1"].publish_envelope(COMMUNITY, "gw-1", b"kept")
        client = bus["gw-1"]._client
        await client.publish("ledger.campus.envelopes.gw-1", b"sly", reply=place)
        await client.publish("ledger.campus.heads.gw-1", b"", reply=place)
        await client.flush()
        assert await bus["gw-1"].ask_heads(COMMUNITY, "gw-1") == b"gw-1"
        found = {(one.device, one.data) for one in await taken(intake)}
        assert ("gw-1", b"kept") in found
        strange = found - {("gw-1", b"kept"), ("gw-1", b"sly")}
        assert all(set(json.loads(data)) == {"stream", "seq"} for _, data in strange)
        assert len(strange) == (place == "ledger.campus.envelopes.gw-2")
        await intake.close()


async def refused(nats: EmbeddedNats, name: str) -> BusRefused:
    with pytest.raises(BusRefused) as failed:
        await connect(nats, name)
    return failed.value


async def until(bus: Bus, device: str, kind: type[Exception] | None) -> None:
    """Return when asking for heads fails in that way, or answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                await bus.ask_heads(COMMUNITY, device)
                if kind is None:
                    return
            except BusUnavailable as error:
                if kind is not None and isinstance(error, kind):
                    return
            await asyncio.sleep(0.05)


async def test_who_is_listed_no_more_is_thrown_out_and_nobody_else(server_folder: Path) -> None:
    settings = NatsServerSettings(users=listed(*DEVICES))
    async with (
        EmbeddedNats(server_folder, settings) as nats,
        at_work(nats, *DEVICES) as bus,
    ):
        await nats.admit(listed("gw-2"))
        await until(bus["gw-1"], "gw-1", BusRefused)
        assert not bus["gw-1"]._client.is_connected
        error = await refused(nats, "gw-1")
        assert (error.code, error.where) == ("not-authorised", nats.url)
        assert "must be enrolled" in error.hint
        assert await bus["gw-2"].ask_heads(COMMUNITY, "gw-2") == b"gw-2"
        assert [bus[name]._client.stats["reconnects"] for name in ("writer", "gw-2")] == [0, 0]
        await nats.admit(listed(*DEVICES))
        await until(bus["gw-1"], "gw-1", None)


async def test_users_and_their_rights_outlive_the_server(server_folder: Path) -> None:
    settings = NatsServerSettings(users=listed("gw-1"))
    async with EmbeddedNats(server_folder, settings) as nats, at_work(nats, "gw-1") as bus:
        received: asyncio.Queue[bytes] = asyncio.Queue()
        await bus["gw-1"].on_receipts(COMMUNITY, "gw-1", received.put)
        await nats.kill()
        await nats.start()
        await until(bus["gw-1"], "gw-1", None)
        await bus["gw-1"].publish_envelope(COMMUNITY, "gw-1", b"{}")
        await bus["writer"].publish_receipt(COMMUNITY, "gw-1", b"receipt")
        async with asyncio.timeout(10):
            assert await received.get() == b"receipt"
        assert (await refused(nats, "gw-2")).code == "not-authorised"


async def test_a_stranger_is_refused_and_no_seed_is_told(
    nats: EmbeddedNats, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SigningKey.generate()
    with pytest.raises(BusRefused) as failed:
        await Bus.connect(BusSettings(url=nats.url), "stranger", User(COMMUNITY, "device", "gw-1", key))
    told = failed.value.diagnostics() + str(capsys.readouterr()) + nats.log_file.read_text()
    seed = key._key.private_bytes_raw()
    assert user_nkey(key.public) in told
    for secret in (seed.hex(), b64(seed), nkeys.encode_seed(seed, nkeys.PREFIX_BYTE_USER).decode()):
        assert secret not in told
        assert secret not in (nats.folder / "server.conf").read_text() + nats.users()
