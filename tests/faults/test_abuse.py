"""Between meters, gateways and writer the worst happens, under load: nothing is lost, doubled or stopped.

Envelopes are lost, repeated, put in another order, changed and sent under other names; receipts are repeated
and forged; meters answer late or wrongly; a gateway's clock is years ahead; a second process has a gateway's
key; a disk is full. What the ledger refuses stands in quarantine with its code, and everything else goes on.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from ledger.bus.subjects import STREAM
from tests.faults.kill_evidence import Account
from tests.faults.kill_gateway import polls_of
from tests.faults.kill_support import Site, check, site, until
from tests.support.nats import seed_file

GATEWAYS = {"gw-1": ("m-1", "m-2"), "gw-2": ("m-3", "m-4"), "gw-ahead": ("m-5",)}
SEED = int(os.environ.get("SOAK_SEED", "1"))
SOAK_ROUNDS = int(os.environ.get("SOAK_ROUNDS", "40"))
REMEMBERED_MAX = 2_000


class Abuser:
    """Somebody who may read, write and delete whatever NATS carries, and has no key."""

    def __init__(self, here: Site, client: Client, chance: random.Random) -> None:
        self._here = here
        self._client = client
        self._chance = chance
        self._envelopes: list[Msg] = []
        self._receipts: list[Msg] = []
        self.counts = dict.fromkeys(("sent", "dropped", "shuffled", "forged"), 0)

    async def listen(self) -> None:
        """Keep a copy of everything from now on."""

        async def keep_envelope(message: Msg) -> None:
            self._envelopes.append(message)

        async def keep_receipt(message: Msg) -> None:
            self._receipts.append(message)

        await self._client.subscribe("ledger.*.envelopes.*", cb=keep_envelope)
        await self._client.subscribe("ledger.*.receipts.*", cb=keep_receipt)
        await self._client.flush()

    def _some(self, messages: list[Msg], most: int = 30) -> list[Msg]:
        recent = messages[-REMEMBERED_MAX:]
        return self._chance.sample(recent, min(most, len(recent)))

    async def _send(self, subject: str, data: bytes) -> None:
        self.counts["sent"] += 1
        await self._client.publish(subject, data)

    async def repeat_envelopes(self) -> None:
        """What was sent long ago comes again, in any order."""
        for message in self._some(self._envelopes):
            await self._send(message.subject, message.data)

    async def repeat_receipts(self) -> None:
        """Answers that were given come again, in any order and to the wrong gateway."""
        subjects = [message.subject for message in self._receipts]
        for message in self._some(self._receipts):
            await self._send(self._chance.choice(subjects), message.data)

    async def forge(self) -> None:
        """Bits are flipped in envelopes and receipts, and envelopes come under other names."""
        envelopes, receipts = self._some(self._envelopes), self._some(self._receipts)
        for message in envelopes + receipts:
            self.counts["forged"] += 1
            data = bytearray(message.data)
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(7)
            await self._send(message.subject, bytes(data))
        for message in envelopes:
            name = self._chance.choice(("gw-1", "gw-2", "operator", "nobody"))
            await self._send(f"{message.subject.rpartition('.')[0]}.{name}", message.data)

    async def drop(self) -> None:
        """Some of what JetStream has acknowledged is gone."""
        async with self._queued() as numbers:
            for number in numbers:
                if self._chance.random() < 0.4 and await self._take(number):
                    self.counts["dropped"] += 1

    async def shuffle(self) -> None:
        """What is queued comes in another order."""
        async with self._queued() as numbers:
            taken = [message for number in numbers if (message := await self._take(number))]
            self._chance.shuffle(taken)
            for subject, data in taken:
                self.counts["shuffled"] += 1
                await self._send(subject, data)

    @asynccontextmanager
    async def _queued(self) -> AsyncIterator[list[int]]:
        """The numbers of what is queued while the writer hangs for a moment."""
        writer = self._here.services["writer"]
        writer.send(signal.SIGSTOP)
        try:
            await self._here.live(4)
            state = (await self._client.jetstream().stream_info(STREAM)).state
            yield [*range(state.first_seq, state.last_seq + 1)]
        finally:
            writer.send(signal.SIGCONT)

    async def _take(self, number: int) -> tuple[str, bytes] | None:
        """Take a message out of the stream; nothing if it is not there any more."""
        jetstream = self._client.jetstream()
        try:
            message = await jetstream.get_msg(STREAM, number)
            await jetstream.delete_msg(STREAM, number)
        except nats.js.errors.Error:
            return None
        assert message.subject is not None
        return message.subject, message.data or b""


@asynccontextmanager
async def abuser(here: Site, chance: random.Random) -> AsyncIterator[Abuser]:
    """An abuser of the site's NATS."""
    seed = str(seed_file(here.nats))
    client = await nats.connect(here.nats.url, nkeys_seed=seed, max_reconnect_attempts=-1)
    try:
        made = Abuser(here, client, chance)
        await made.listen()
        yield made
    finally:
        with contextlib.suppress(nats.errors.Error):
            await client.close()


async def abuse(folder: Path, rounds: int, seed: int, *, kills: bool = False) -> None:
    """Do everything to a site, so many times, and see that nothing came of it."""
    chance = random.Random(seed)
    async with site(folder, GATEWAYS) as here, abuser(here, chance) as worst:
        here.add_gateway("gw-1", GATEWAYS["gw-1"], faults_percent=25, seed=seed).start()
        here.add_gateway("gw-1", GATEWAYS["gw-1"], as_="gw-1-twin", pause_ms=50, seed=seed + 1).start()
        here.add_gateway("gw-2", GATEWAYS["gw-2"], faults_percent=25, seed=seed + 2).start()
        here.add_gateway("gw-ahead", GATEWAYS["gw-ahead"], pause_ms=400, ahead_days=20_000).start()
        await here.live(5)
        deeds = [worst.repeat_envelopes, worst.repeat_receipts, worst.forge, worst.drop, worst.shuffle]
        for _ in range(rounds):
            chance.shuffle(deeds)
            for deed in deeds:
                await deed()
                await asyncio.sleep(chance.uniform(0, 0.2))
            if kills:
                await here.strike([chance.choice((*here.plans, "writer", "postgres"))], chance.uniform(0, 1))
        evidence = await check(here, ABUSED, strict=False)
        codes, alarms = evidence.codes(), evidence.alarms()
        assert {"fork", "clock-skew", "bad-signature", "malformed", "not-permitted"} <= set(codes), codes
        assert {"fork", "clock-drift"} <= set(alarms), alarms
        ahead = Account.read(Path(here.plans["gw-ahead"].witness))
        readings = {body for body in ahead.kept if body[0] == "meter/m-5"}
        assert readings == {body for body in evidence.refused() if body[0] == "meter/m-5"}
        print(f"\nseed {seed}: {worst.counts}, kills {dict(here.kills)}")
        print(f"{len(evidence.book.events)} events, quarantine {dict(codes)}, alarms {dict(alarms)}")
        print({Path(name).stem: seen.told() for name, seen in evidence.accounts().items()})


ABUSED = {
    *("malformed", "not-canonical", "unknown-device", "bad-signature", "not-permitted", "clock-skew"),
    *("sequence-gap", "chain-broken", "fork"),
}
"""What may stand in quarantine: all but what concerns the registry."""


async def test_nothing_that_happens_on_the_way_loses_or_doubles_a_reading(server_folder: Path) -> None:
    await abuse(server_folder, 1, 3)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_nothing_that_happens_on_the_way_for_long_loses_or_doubles_a_reading(
    server_folder: Path,
) -> None:
    await abuse(server_folder, SOAK_ROUNDS, SEED, kills=True)


# --- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(server_folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root can make one."""
    folder = server_folder.with_name(f"{server_folder.name}-disk")
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def failures_of(witness: Path) -> int:
    """How many bodies the outbox could not keep so far."""
    return sum(line.startswith("failed ") for line in witness.read_text().splitlines())


async def until_full(here: Site, fill: Callable[[], None]) -> None:
    """Fill the disk until the outbox has refused often, and see that the meters were read all the while."""
    witness = Path(here.plans["gw-1"].witness)

    async def refused_often() -> bool:
        fill()
        return failures_of(witness) > failed + 20

    await here.live(1)
    failed, polls = failures_of(witness), polls_of(witness)
    await until("a full disk", refused_often)
    assert polls_of(witness) > polls + 2


def exhaust(folder: Path) -> None:
    """Take the last byte of a disk; what lay aside for emptying an outbox may have made room again."""
    with contextlib.suppress(OSError), (folder / "ballast").open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def check_recovered(here: Site) -> None:
    """What could not be kept at first was kept later, and everything is in the book, the alarm as well."""
    await here.live(5)
    evidence = await check(here, {"sequence-gap"})
    (seen,) = evidence.accounts().values()
    assert not seen.failed
    assert evidence.alarms()["outbox-full"] >= 1, evidence.alarms()


async def test_a_gateway_reads_on_while_its_disk_is_full(server_folder: Path, small_disk: Path) -> None:
    async with site(server_folder, {"gw-1": GATEWAYS["gw-1"]}) as here:
        here.add_gateway("gw-1", GATEWAYS["gw-1"], outbox=small_disk / "gw-1.db").start()
        await here.live(5)
        await here.kill("writer")
        await until_full(here, lambda: exhaust(small_disk))
        (small_disk / "ballast").unlink()
        await here.revive("writer")
        await check_recovered(here)


async def test_a_gateway_reads_on_while_its_outbox_may_not_grow_and_nobody_takes_from_it(
    server_folder: Path,
) -> None:
    async with site(server_folder, {"gw-1": GATEWAYS["gw-1"]}) as here:
        room = here.folder / "room"
        await here.kill("nats")
        here.add_gateway("gw-1", GATEWAYS["gw-1"], small_until=str(room)).start()
        await until_full(here, lambda: None)
        room.touch()
        await here.revive("nats")
        await check_recovered(here)
