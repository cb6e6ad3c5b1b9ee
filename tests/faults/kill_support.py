"""A ledger made of real processes that can be killed one by one, and what must be true of it afterwards.

`Site` has a Postgres, a NATS, a writer, a projector and gateways, each a process of its own; who ends by
itself is started again, as a container or systemd would. `Site.settle` ends the load, waits until everything
is in the book, and `Site.check` holds the book against the gateways' witnesses.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from api.registering import MeterPlace, lacking
from ledger.bus import Bus
from ledger.bus.users import users_text
from ledger.bus_users import service_keys, service_user
from ledger.client import BookClient
from ledger.clock import monotonic_seconds
from ledger.embedded import EmbeddedNats, EmbeddedPostgres, NatsServerSettings
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.note import Verifier
from ledger.opening import LedgerKeys
from ledger.postgres.reader import Reader
from ledger.registry import OPERATOR
from ledger.services import migrate_store, registry_of
from ledger.settings import Settings, load_settings
from tests.faults.kill_evidence import Evidence
from tests.faults.kill_gateway import MODEL, RATED_W, START, Plan, polls_of
from tests.support.nats import with_everything
from tests.support.store import owner, projections, read_book

ROOT = Path(__file__).parents[2]
AWAY_EXIT_CODE = 3  # of `Unavailable`: a part that is needed does not answer
RESTART_SECONDS = 0.2
WAIT_SECONDS = 90
POLL_SECONDS = 0.05
LOG_LINES = 60

SETTINGS = """\
[community]
id = "campus"
origin = "ledger.example/campus"

[data]
folder = "{folder}"

[postgres]
url = "{postgres}"

[nats]
url = "{nats}"
monitor_url = "{monitor}"
relaxed_sync = {relaxed}

[writer]
seal_seconds = 2
wait_seconds = 0.2

[[feeders]]
id = "f-1"

[[buildings]]
id = "b-1"
feeder = "f-1"
"""


@dataclass
class Service:
    """A process that is started again whenever it ends, as long as it is wanted."""

    name: str
    command: Sequence[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    wanted: bool = False
    endings: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Have it run."""
        self.wanted = True
        if self.process is None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", *self.command], cwd=ROOT, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log,
                )  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power failure would; it stays away until it is started again."""
        self.wanted = False
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def look(self) -> int | None:
        """How it has ended by itself since the last look; None when it has not."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        self.endings.append(code)
        return code

    async def ended(self) -> int:
        """Wait until it ends after a SIGTERM; how it ended."""
        self.wanted = False
        self.send(signal.SIGTERM)
        assert self.process is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while (code := self.process.poll()) is None:
                await asyncio.sleep(POLL_SECONDS)
        self.process = None
        return code


class Site:
    """All processes of one ledger, in one folder. `relaxed`: JetStream acknowledges before it syncs."""

    def __init__(self, folder: Path, *, relaxed: bool) -> None:
        self.folder = folder
        self.config = folder / "energy-ledger.toml"
        port, monitor_port = _fixed_ports(2)
        interval = "2m" if relaxed else "always"
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.nats = EmbeddedNats(
            folder / "nats", NatsServerSettings(port=port, monitor_port=monitor_port, sync_interval=interval)
        )
        self.services: dict[str, Service] = {}
        self.plans: dict[str, Plan] = {}
        self.kills: Counter[str] = Counter()
        self.surprises: list[str] = []
        self._relaxed = relaxed
        self.settings: Settings
        self.keys: LedgerKeys

    # --- making it ---------------------------------------------------------------------------

    async def open(self, gateways: dict[str, tuple[str, ...]]) -> None:
        """Start the servers, the writer and the projector; enrol `gateways` with their meters."""
        self.folder.mkdir(mode=0o711)
        await asyncio.gather(self.postgres.start(), self.nats.start())
        self.config.write_text(
            SETTINGS.format(
                folder=self.folder / "data",
                postgres=self.postgres.dsn,
                nats=self.nats.url,
                monitor=self.nats.monitor_url,
                relaxed=str(self._relaxed).lower(),
            )
        )
        self.settings = load_settings(self.config, {})
        self.keys = LedgerKeys.load_or_create(self.settings.keys_folder)
        await self.nats.admit(self._users(gateways))
        await migrate_store(self.settings.postgres)
        for name in ("writer", "projector"):
            self.add(name, ["api", name, "--config", str(self.config)]).start()
        await self._enrol(gateways)

    def add(self, name: str, command: Sequence[str]) -> Service:
        """One more service, not started."""
        service = self.services[name] = Service(name, command, self.folder / f"{name}.log")
        return service

    def add_gateway(self, name: str, meters: tuple[str, ...], as_: str = "", **more: Any) -> Service:
        """One more gateway process, not started; `as_` is its name here where two have one identity."""
        known = as_ or name
        plan = self.plans[known] = Plan(
            config=str(self.config),
            gateway=name,
            meters=meters,
            witness=str(self.folder / f"{known}.witness"),
            outbox=str(more.pop("outbox", self.folder / f"{known}.db")),
            **more,
        )
        return self.add(known, ["tests.faults.kill_gateway", msgspec.json.encode(plan).decode()])

    def _users(self, gateways: Iterable[str]) -> str:
        """Everybody with the rights that they have in life, and one who may do everything."""
        keys = {
            name: SigningKey.load_or_create(self.settings.keys_folder / f"{name}.pem").public
            for name in gateways
        }
        return with_everything(users_text(self.settings.community.id, service_keys(self.settings), keys))

    async def _enrol(self, gateways: dict[str, tuple[str, ...]]) -> None:
        places = [
            MeterPlace(meter, "connection", "b-1", MODEL, RATED_W, gateway)
            for gateway, meters in gateways.items()
            for meter in meters
        ]
        keys = {
            name: SigningKey.load_or_create(self.settings.keys_folder / f"{name}.pem") for name in gateways
        }
        operator = service_user(self.settings, "operator")
        async with await Bus.connect(self.settings.nats, "enrol", operator) as bus:
            client = BookClient(
                bus, self.settings.community.id, OPERATOR, self.keys.operator, self.keys.service.public
            )

            async def is_answered() -> bool:
                await client.open()
                return True

            await until("the writer", is_answered)
            registry = await registry_of(self.settings)
            missing = lacking(registry, self.settings, places, keys, START).missing
            await client.append("registry", list(missing.values()))

    async def supervise(self) -> None:
        """Start again what ends, and note what should not have ended so."""
        while True:
            for service in self.services.values():
                if service.wanted and (code := service.look()) is not None:
                    if code != AWAY_EXIT_CODE:
                        last = service.log.read_text().splitlines()[-1:]
                        self.surprises.append(f"{service.name} ended with {code} after {last}")
                    await asyncio.sleep(RESTART_SECONDS)
                if service.wanted:
                    service.start()
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """End everything, at once."""
        for service in self.services.values():
            service.kill()
        await asyncio.gather(self.postgres.kill(), self.nats.kill())

    # --- breaking it -------------------------------------------------------------------------

    async def kill(self, *victims: str) -> None:
        """SIGKILL for services and whole servers."""
        for victim in victims:
            self.kills[victim] += 1
            if victim in self.services:
                self.services[victim].kill()
        servers = [server for name, server in self._servers().items() if name in victims]
        await asyncio.gather(*(server.kill() for server in servers))

    async def revive(self, *victims: str) -> None:
        """Start what was killed."""
        await asyncio.gather(*(self._servers()[name].start() for name in victims if name in self._servers()))
        for victim in victims:
            if victim in self.services:
                self.services[victim].start()

    async def strike(self, victims: Sequence[str], away_seconds: float) -> None:
        """Kill some parts at once, and bring them back after a while."""
        await self.kill(*victims)
        await asyncio.sleep(away_seconds)
        await self.revive(*victims)

    def wipe_store(self) -> None:
        """Take away all that JetStream keeps; NATS must be down."""
        shutil.rmtree(self.nats.folder / "store")
        self.kills["store wiped"] += 1

    def save_store(self) -> None:
        """Remember what JetStream keeps; NATS must be down."""
        shutil.rmtree(self.folder / "saved", ignore_errors=True)
        shutil.copytree(self.nats.folder / "store", self.folder / "saved")

    def set_back_store(self) -> None:
        """Have JetStream forget what it was told since `save_store`; NATS must be down."""
        if (self.folder / "saved").exists():
            shutil.rmtree(self.nats.folder / "store")
            shutil.copytree(self.folder / "saved", self.nats.folder / "store")
            for path in (self.nats.folder / "store", *(self.nats.folder / "store").rglob("*")):
                owner = self.nats.users_file.stat()
                os.chown(path, owner.st_uid, owner.st_gid)
            self.kills["store set back"] += 1

    def _servers(self) -> dict[str, EmbeddedPostgres | EmbeddedNats]:
        return {"postgres": self.postgres, "nats": self.nats}

    # --- load, and its end ---------------------------------------------------------------------

    async def live(self, polls: int) -> None:
        """Wait until every wanted gateway has read so many quarters more."""
        wanted = [plan for name, plan in self.plans.items() if self.services[name].wanted]
        goals = [(Path(plan.witness), polls_of(Path(plan.witness)) + polls) for plan in wanted]

        async def are_read() -> bool:
            return all(polls_of(path) >= goal for path, goal in goals)

        await until("more quarters", are_read)

    async def settle(self) -> None:
        """End the load and the writing; return when every gateway holds its receipts and everything is
        projected."""
        await self.live(1)  # a process that has just been started does not listen to signals yet
        for group in (self.plans, ("writer", "writer-2")):  # a writer that is at rest seals a last block
            running = [one for name in group if (one := self.services.get(name)) and one.process]
            codes = await asyncio.gather(*(service.ended() for service in running))
            assert not any(codes), codes
        await until("the projections", self._projected)

    async def _projected(self) -> bool:
        community = self.settings.community.id
        async with await Reader.open(self.settings.postgres) as reader:
            fence = await reader.fence(community)
            return fence is not None and await reader.projected(community) == fence.size

    async def evidence(self) -> Evidence:
        """The book and the witnesses, to be held against one another."""
        community = self.settings.community.id
        names = sorted({plan.gateway for plan in self.plans.values()})
        keys = [SigningKey.load(self.settings.keys_folder / f"{name}.pem") for name in names]
        return Evidence(
            book=await read_book(self.settings.postgres, community),
            plans=list(self.plans.values()),
            verifier=Verifier(self.settings.origin, self.keys.log.public),
            signers=[self.keys.service.public, self.keys.operator.public, *(key.public for key in keys)],
            settings=self.settings,
        )

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a sub-command of `energy-ledger`; its exit code and what it said."""
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api", *words, cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await running.communicate()
        assert running.returncode is not None
        return running.returncode, said.decode()

    def logs(self) -> dict[str, str]:
        """What every service has said."""
        return {name: service.log.read_text() for name, service in self.services.items()}

    def show_logs(self) -> None:
        """Print the end of every log, for whoever looks into a failure."""
        for name, text in self.logs().items():
            print(f"--- {name}", *text.splitlines()[-LOG_LINES:], sep="\n")


@asynccontextmanager
async def site(
    folder: Path, gateways: dict[str, tuple[str, ...]], *, relaxed: bool = False
) -> AsyncIterator[Site]:
    """A site whose gateways are enrolled; it is gone after the block, however that ends."""
    made = Site(folder, relaxed=relaxed)
    watching = asyncio.create_task(made.supervise())
    try:
        await made.open(gateways)
        yield made
        assert not watching.done(), watching
    except BaseException:
        made.show_logs()
        raise
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await made.close()


async def check(here: Site, codes: set[str], *, strict: bool = True) -> Evidence:
    """Bring everything to rest, and hold all that can be told against it.

    `codes` are those that may stand in quarantine; `strict`: every reading is plausible.
    """
    await here.settle()
    assert not here.surprises
    assert not [name for name, text in here.logs().items() if "Traceback" in text]
    evidence = await here.evidence()
    evidence.check()
    assert set(evidence.codes()) <= codes, evidence.codes()
    await evidence.check_energy()
    await asyncio.gather(_prove(here, evidence, strict=strict), _rebuild(here))
    return evidence


async def _prove(here: Site, evidence: Evidence, *, strict: bool) -> None:
    book = here.folder / "campus.book.jsonl"
    code, said = await here.command("export", "--config", str(here.config), "--out", str(book))
    assert code == 0, said
    how = ["--strict"] if strict else []
    code, said = await here.command("verify", str(book), "--log-key", str(evidence.verifier), *how)
    assert code == 0, said


async def _rebuild(here: Site) -> None:
    async with owner(here.settings.postgres) as connection:
        before = await projections(connection)
        code, said = await here.command("rebuild", "--config", str(here.config))
        assert code == 0, said
        assert await projections(connection) == before, "rebuilding gives other projections"


async def until(what: str, ask: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the answer is yes; what cannot be reached now is asked again."""
    end = monotonic_seconds() + WAIT_SECONDS
    while True:
        with contextlib.suppress(LedgerError):
            if await ask():
                return
        assert monotonic_seconds() < end, f"waited {WAIT_SECONDS} s for {what}"
        await asyncio.sleep(POLL_SECONDS)


def _fixed_ports(count: int) -> list[int]:
    """Free ports below those that the system gives to clients: a client that calls while the server is down
    cannot be given its port."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports
