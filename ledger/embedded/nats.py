"""The real nats-server with JetStream in a data folder.

<folder>/store           what JetStream keeps
<folder>/server.conf     written anew at each start
<folder>/users.conf      who is let in, by their public keys, and what they may do; kept from start to start
<folder>/made-by         the newest version of nats-server that wrote the store
<folder>/server.log
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ledger.embedded.errors import CommandFailed, OtherVersion
from ledger.embedded.folder import ServerFolder
from ledger.embedded.process import POLL_SECONDS, ServerProcess
from ledger.embedded.programs import Version, nats_program, version_of, within_reach
from ledger.embedded.server import EmbeddedServer

ANSWER_SECONDS_MAX = 2
RELOAD_SECONDS_MAX = 5
USERS = "users.conf"
STORE_BYTES_MIN = 32 * 2**20
"""Room for a stream that is of use, on however small a disk."""


@dataclass(frozen=True, slots=True)
class NatsServerSettings:
    """How an embedded nats-server runs."""

    port: int = 0
    """Of the clients, on loopback; 0 for a free one."""
    monitor_port: int = 0
    """Of the monitoring pages, on loopback; 0 for a free one."""
    sync_interval: str = "always"
    """When JetStream has a message on the disk: before it acknowledges it, or after so long, such
    as `2m`. Only gateways that keep their readings until a receipt comes can do with less."""
    programs: Path | None = None
    """A folder with `nats-server`; None for the one that came with the ledger."""
    users: str = ""
    """The configuration's block `authorization`; the one in the folder if it is empty, or else one that
    keeps everybody out."""


class EmbeddedNats(EmbeddedServer):
    """nats-server on loopback, for the clients in its list of users."""

    program_name = "nats-server"
    death_signal = signal.SIGTERM
    stop_steps = ((signal.SIGTERM, 30),)

    def __init__(self, folder: Path, settings: NatsServerSettings | None = None) -> None:
        super().__init__(folder)
        self.settings = settings or NatsServerSettings()
        self.users_file = self.folder / USERS
        self._port = self.settings.port or -1  # -1: the server binds a free one and tells which
        self._monitor_port = self.settings.monitor_port or -1
        self._program = Path(self.program_name)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Where `/varz` and `/healthz` are; loopback, without a secret."""
        return f"http://127.0.0.1:{self._monitor_port}"

    async def unwell(self) -> str:
        """What it says is wrong with it, such as a write that failed; empty if it is well, or silent."""
        head, _, body = (await _page(self._monitor_port, "/healthz")).partition(b"\r\n\r\n")
        if not head or b" 200 " in head.partition(b"\r\n")[0]:
            return ""
        return body.decode(errors="replace").strip()

    async def _prepare(self, owned: ServerFolder) -> None:
        installed = nats_program(self.settings.programs)
        version = version_of(installed)
        self._check_version(version)
        self._program = await asyncio.to_thread(within_reach, installed, owned.account, self.folder, version)
        owned.make_folder("store")
        for told in self.folder.glob("nats-server_*.ports"):
            told.unlink()
        (self.folder / "token").unlink(missing_ok=True)  # of an earlier version: it opens nothing any more
        if self.settings.users or not self.users_file.exists():
            owned.write_private(USERS, self.settings.users or _nobody())
        owned.write_private("server.conf", self._config())
        owned.write_private("made-by", f"{version}\n")

    def _check_version(self, version: Version) -> None:
        """A store is carried on by the same or a newer version of the same major number."""
        made_by = self.folder / "made-by"
        if not made_by.exists():
            return
        major, minor = made_by.read_text().strip().split(".")
        stored = Version(int(major), int(minor))
        if stored.major != version.major or stored > version:
            raise OtherVersion(
                f"the folder was made by nats-server {stored}, and this is nats-server {version}",
                where=str(self.folder),
                hint=f"use nats-server {stored} or a later one of its major version",
            )

    def _config(self) -> str:
        text = json.dumps
        return f"""\
listen: "127.0.0.1:{self._port}"
http: "127.0.0.1:{self._monitor_port}"
ports_file_dir: {text(str(self.folder), ensure_ascii=False)}
logtime_utc: true
include {text(USERS)}
jetstream {{
  store_dir: {text(str(self.folder / "store"), ensure_ascii=False)}
  sync_interval: {text(self.settings.sync_interval)}
  max_file_store: {self._share_of_disk()}
  # A request with a field too many is refused: JetStream's own acknowledgement, sent to a subject of its API
  # that a device gave as the place to answer, must not pass for one.
  strict: true
}}
"""

    def _share_of_disk(self) -> int:
        """What JetStream may take of its disk, in bytes: a quarter of what it has and what is free, so that a
        writer that stands still leaves Postgres the rest; the same from start to start, as the disk is."""
        store = self.folder / "store"
        kept = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        return max((shutil.disk_usage(store).free + kept) // 4, STORE_BYTES_MIN)

    def _command(self) -> Sequence[str | Path]:
        return (self._program, "-c", self.folder / "server.conf")

    async def _is_ready(self, process: ServerProcess) -> bool:
        told = self.folder / f"nats-server_{process.pid}.ports"
        try:
            ports = json.loads(told.read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or half written
            return False
        self._port = _port_of(ports["nats"])
        self._monitor_port = _port_of(ports["monitoring"])
        return await _answers_well(self._monitor_port)

    def _secrets(self) -> Sequence[str]:
        return []  # public keys are all it is told

    def users(self) -> str:
        """Who is let in: the list of the last start, or what it was given since; empty if there is none."""
        if self.settings.users or not self.users_file.exists():
            return self.settings.users
        return self.users_file.read_text()

    async def admit(self, users: str) -> None:
        """Let in whom this list says, and throw out whom it does not; at the next start, if it does not run.

        Raises `CommandFailed` where the server does not take it; the list before it holds on.
        """
        if self._process is None or self._owned is None or not self.running:
            self.settings = replace(self.settings, users=users)
            return
        held = self.users()
        self._owned.write_private(USERS, users)
        before = await _loaded_at(self._monitor_port)
        self._process.send(signal.SIGHUP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELOAD_SECONDS_MAX):
                while await _loaded_at(self._monitor_port) == before:
                    await asyncio.sleep(POLL_SECONDS)
                self.settings = replace(self.settings, users=users)
                return
        self._owned.write_private(USERS, held)
        raise CommandFailed(
            "nats-server did not take its new list of users",
            where=str(self.log_file),
            hint=f"its last words were\n{self._process.log.tail()}",
        )


def _nobody() -> str:
    """A list that lets nobody in: an empty one would let everybody."""
    return f'authorization {{ token: "{secrets.token_urlsafe(32)}" }}\n'


def _port_of(urls: Sequence[str]) -> int:
    return urlsplit(urls[0]).port or 0


async def _answers_well(monitor_port: int) -> bool:
    """Whether /healthz says that the server and JetStream are well."""
    return b" 200 " in (await _page(monitor_port, "/healthz")).partition(b"\r\n")[0]


async def _loaded_at(monitor_port: int) -> str | None:
    """When the server read its configuration, as it says itself; None if it does not answer."""
    body = (await _page(monitor_port, "/varz")).partition(b"\r\n\r\n")[2]
    return str(json.loads(body)["config_load_time"]) if body else None


async def _page(monitor_port: int, path: str) -> bytes:
    """A page of the monitoring with its head; empty if there is no answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", monitor_port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
