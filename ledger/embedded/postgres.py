"""The real Postgres in a data folder.

`postgres` is started directly, not by `pg_ctl`: pg_ctl leaves it behind as an orphan, and it has to
be our own child to end with us. Readiness is read where pg_ctl reads it, in postmaster.pid.

    <folder>/data            the cluster; made as data.new-* and renamed, so it is there whole or not at all
    <folder>/run             its unix socket
    <folder>/password        of the superuser, for TCP; readable by the server's account alone
    <folder>/*.conf          written anew at each start from the settings
    <folder>/server.log
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ledger.embedded.account import Account, current_account
from ledger.embedded.errors import (
    CommandFailed,
    FolderClosed,
    OtherVersion,
    PortInUse,
    ServerMissing,
    StartFailed,
)
from ledger.embedded.folder import ServerFolder, give
from ledger.embedded.postgres_config import access_text, config_text, names_text
from ledger.embedded.process import (
    ENVIRONMENT,
    Log,
    ServerProcess,
    launch,
    lists_processes,
    processes_in,
)
from ledger.embedded.programs import Version, postgres_program, version_of, within_reach
from ledger.embedded.server import EmbeddedServer

SUPERUSER = "postgres"
DATABASE = "ledger"
MAJOR_MIN = 16  # the first whose pg_ident.conf knows `all`
SOCKET_PORT = 5432  # part of the socket's name, also where nothing listens on TCP
SOCKET_PATH_BYTES_MAX = 103  # sun_path holds 108 bytes on Linux and 104 on macOS, one of them zero
INITDB_SECONDS_MAX = 120
PORT_TRIES = 5

SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class PostgresServerSettings:
    """How an embedded Postgres runs. That a commit is on disk when it returns is not a setting."""

    tcp_port: int | None = None
    """None: the unix socket alone; 0: a free loopback port; else that loopback port."""
    connections_max: int = 64
    shared_buffers_mb: int = 128
    wal_mb_max: int = 2048
    programs: Path | None = None
    """A folder with `postgres`, `initdb` and `psql`; None for the ones that came with the ledger."""


class EmbeddedPostgres(EmbeddedServer):
    """Postgres with a database `ledger`, reached by a unix socket and, when asked, by TCP."""

    program_name = "postgres"
    # Fast shutdown: sessions are ended, a checkpoint is written, nothing needs recovery.
    death_signal = signal.SIGINT
    stop_steps = ((signal.SIGINT, 60), (signal.SIGQUIT, 10))

    def __init__(self, folder: Path, settings: PostgresServerSettings | None = None) -> None:
        super().__init__(folder)
        self.settings = settings or PostgresServerSettings()
        self.data = self.folder / "data"
        self.password_file = self.folder / "password"
        self._port = self.settings.tcp_port or SOCKET_PORT
        self._socket_folder = self.folder / "run"
        self._program = Path(self.program_name)

    @property
    def dsn(self) -> str:
        """How the superuser reaches the database `ledger` by the unix socket, once it has been started;
        holds no secret."""
        return self.dsn_for(DATABASE)

    def dsn_for(self, database: str) -> str:
        """How the superuser reaches `database` by the unix socket; holds no secret."""
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={host}&port={self._port}"

    @property
    def tcp_dsn(self) -> str:
        """How the superuser reaches `ledger` by loopback TCP, with the password from
        `password_file`. Raises `RuntimeError` unless a TCP port was asked for."""
        if self.settings.tcp_port is None:
            raise RuntimeError("this Postgres listens on its unix socket alone")
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self._port}/{DATABASE}"

    async def start(self) -> None:
        """Start it and return when it is ready. Raises as `EmbeddedServer.start` does.

        A port chosen here may be taken before Postgres binds it; then another one is chosen. Once
        it has run, the port stays, so that clients find it again after a restart.
        """
        chosen = self.settings.tcp_port == 0 and self._port == SOCKET_PORT
        for left in reversed(range(PORT_TRIES)):
            if chosen:
                self._port = _free_port()
            try:
                await super().start()
                return
            except PortInUse:
                if not chosen or not left:
                    raise

    async def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database as a copy of `template`, which nobody may be connected to.

        Returns its dsn. Raises `CommandFailed`.
        """
        await self._psql("create_database.sql", name=name, template=template)
        return self.dsn_for(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database with all it holds, if it is there. Raises `CommandFailed`."""
        await self._psql("drop_database.sql", name=name)

    async def _prepare(self, owned: ServerFolder) -> None:
        installed = postgres_program(self.settings.programs)
        version = version_of(installed)
        self._check_version(version, installed)
        self._program = await asyncio.to_thread(within_reach, installed, owned.account, self.folder, version)
        if not self.data.exists():
            await self._make_cluster(owned)
        self._forget_the_dead(owned)
        owned.make_folder("run")
        self._socket_folder = _socket_folder(self.folder / "run", owned.account, self._port)
        people = {current_account().name, owned.account.name}
        owned.write_private("access.conf", access_text(self.settings.tcp_port is not None))
        owned.write_private("names.conf", names_text(people))
        owned.write_private("server.conf", config_text(self._config()))

    def _forget_the_dead(self, owned: ServerFolder) -> None:
        """Remove the lock files of a Postgres that was killed. It would refuse to start as long as any
        process has the pid in them; where it is known that none of its processes lives, that is wrong."""
        if lists_processes():
            self.data.joinpath("postmaster.pid").unlink(missing_ok=True)
            owned.remove("run")

    def _check_version(self, version: Version, program: Path) -> None:
        if version.major < MAJOR_MIN:
            raise ServerMissing(
                f"Postgres {version} is too old, {MAJOR_MIN} is the oldest that will do",
                where=str(program),
            )
        made_by = self.data / "PG_VERSION"
        if made_by.exists() and (major := made_by.read_text().strip()) != str(version.major):
            raise OtherVersion(
                f"the folder was made by Postgres {major}, and this is Postgres {version}",
                where=str(self.data),
                hint=f"run pg_upgrade, or give the folder of Postgres {major}'s programs",
            )

    async def _outlive_leftovers(self) -> None:
        """A cluster that was being made is thrown away, so what still works on it need not be waited for."""
        for draft in self.folder.glob("data.new-*"):
            for pid in processes_in(draft, self.program_name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await super()._outlive_leftovers()

    async def _make_cluster(self, owned: ServerFolder) -> None:
        """Make the cluster and its database beside `data`, then rename: a run that was broken off leaves
        nothing that the next one would trust, and what it left running has no folder in common with it."""
        owned.remove("data.new-*")
        draft = f"data.new-{secrets.token_hex(4)}"
        password = owned.write_private("password", f"{secrets.token_urlsafe(32)}\n")
        initdb = (self._program.parent / "initdb", "-D", draft, "-U", SUPERUSER)
        rules = ("--auth-local=peer", "--auth-host=scram-sha-256", f"--pwfile={password}")
        # Text is compared by its bytes: an update of the system's collations cannot break an index.
        shape = ("--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions")
        await self._run(owned, (*initdb, *rules, *shape))
        single = (self._program, "--single", "-D", draft, "-c", "exit_on_error=on", SUPERUSER)
        await self._run(owned, single, SQL / "create_ledger.sql")
        (self.folder / draft).rename(self.data)
        owned.sync()

    async def _run(
        self, owned: ServerFolder, command: Sequence[str | Path], given: Path = Path(os.devnull)
    ) -> None:
        with given.open("rb") as statements:
            process = launch(
                command,
                account=owned.account,
                folder=owned.path,
                log=Log(self.log_file),
                death_signal=signal.SIGKILL,
                given=statements,
            )
        try:
            await process.ended_within(INITDB_SECONDS_MAX)
        finally:
            await process.kill()
        if process.exit_code != 0:
            raise StartFailed(
                f"the cluster could not be made: code {process.exit_code}",
                where=str(self.log_file),
                hint=f"{Path(command[0]).name} said\n{process.log.tail(self._secrets())}",
            )

    def _config(self) -> dict[str, str | int]:
        return {
            "port": self._port,
            "listen_addresses": "" if self.settings.tcp_port is None else "127.0.0.1",
            "unix_socket_directories": str(self._socket_folder),
            "hba_file": str(self.folder / "access.conf"),
            "ident_file": str(self.folder / "names.conf"),
            "max_connections": self.settings.connections_max,
            "shared_buffers": f"{self.settings.shared_buffers_mb}MB",
            "max_wal_size": f"{self.settings.wal_mb_max}MB",
        }

    def _command(self) -> Sequence[str | Path]:
        return (self._program, "-D", self.data, "-c", f"config_file={self.folder}/server.conf")

    async def _is_ready(self, process: ServerProcess) -> bool:
        """Line 1 of postmaster.pid is the server's pid, line 8 its state (miscinit.h)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(process.pid)] and [one.strip() for one in lines[7:]] == ["ready"]

    def _secrets(self) -> Sequence[str]:
        return [self.password_file.read_text().strip()] if self.password_file.exists() else []

    def _release(self) -> None:
        if self._owned is not None and self._socket_folder != self.folder / "run":
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = self.folder / "run"
        super()._release()

    async def _psql(self, script: str, **variables: str) -> None:
        program = self._program.parent / "psql"
        reach = ("-h", str(self._socket_folder), "-p", str(self._port), "-U", SUPERUSER, "-d", SUPERUSER)
        named = [part for name, text in variables.items() for part in ("-v", f"{name}={text}")]
        running = await asyncio.create_subprocess_exec(
            program,
            *("-X", "-q", "-v", "ON_ERROR_STOP=1", *named, *reach, "-f", str(SQL / script)),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, said = await running.communicate()
        if running.returncode != 0:
            raise CommandFailed(f"psql refused {script}", where=str(self.folder), hint=said.decode().strip())


def _socket_folder(wanted: Path, account: Account, port: int) -> Path:
    """`wanted`, or, where the socket's path would be longer than the system allows, a folder of the
    same privacy among the temporary files, named after `wanted`."""
    if len(os.fsencode(wanted / f".s.PGSQL.{port}")) <= SOCKET_PATH_BYTES_MAX:
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"energy-ledger-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    if status.st_uid not in {os.geteuid(), account.uid} or status.st_mode & 0o170077 != 0o040000:
        raise FolderClosed(
            "another user has made the folder for the server's socket",
            where=str(short),
            hint="remove it, or choose a data folder with a shorter path",
        )
    give(short, account)
    return short


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
