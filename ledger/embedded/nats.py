"""The real nats-server with JetStream in a data folder.

<folder>/store           what JetStream keeps
<folder>/token           that a client has to show; readable by the server's account alone
<folder>/server.conf     written anew at each start; holds the token, so it is private too
<folder>/made-by         the newest version of nats-server that wrote the store
<folder>/server.log
"""

import asyncio
import json
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ledger.embedded.errors import OtherVersion
from ledger.embedded.folder import ServerFolder
from ledger.embedded.process import ServerProcess
from ledger.embedded.programs import Version, nats_program, version_of, within_reach
from ledger.embedded.server import EmbeddedServer

ANSWER_SECONDS_MAX = 2


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


class EmbeddedNats(EmbeddedServer):
    """nats-server on loopback, for clients that show the token in `token_file`."""

    program_name = "nats-server"
    death_signal = signal.SIGTERM
    stop_steps = ((signal.SIGTERM, 30),)

    def __init__(self, folder: Path, settings: NatsServerSettings | None = None) -> None:
        super().__init__(folder)
        self.settings = settings or NatsServerSettings()
        self.token_file = self.folder / "token"
        self._port = self.settings.port or -1  # -1: the server binds a free one and tells which
        self._monitor_port = self.settings.monitor_port or -1
        self._program = Path(self.program_name)

    @property
    def url(self) -> str:
        """Where clients connect; without the token."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Where `/varz` and `/healthz` are; loopback, without a secret."""
        return f"http://127.0.0.1:{self._monitor_port}"

    async def _prepare(self, owned: ServerFolder) -> None:
        installed = nats_program(self.settings.programs)
        version = version_of(installed)
        self._check_version(version)
        self._program = await asyncio.to_thread(within_reach, installed, owned.account, self.folder, version)
        owned.make_folder("store")
        for told in self.folder.glob("nats-server_*.ports"):
            told.unlink()
        if not self.token_file.exists():
            owned.write_private("token", f"{secrets.token_urlsafe(32)}\n")
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
authorization {{ token: {text(self._token())} }}
jetstream {{
  store_dir: {text(str(self.folder / "store"), ensure_ascii=False)}
  sync_interval: {text(self.settings.sync_interval)}
}}
"""

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
        return [self._token()] if self.token_file.exists() else []

    def _token(self) -> str:
        return self.token_file.read_text().strip()


def _port_of(urls: Sequence[str]) -> int:
    return urlsplit(urls[0]).port or 0


async def _answers_well(monitor_port: int) -> bool:
    """Whether /healthz says that the server and JetStream are well."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", monitor_port)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
