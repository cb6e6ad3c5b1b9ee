"""The embedded servers keep what they acknowledged, keep others out, and never outlive their owner."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.bus import Bus, BusRefused, BusSettings
from ledger.embedded import (
    CommandFailed,
    EmbeddedNats,
    EmbeddedPostgres,
    EmbeddedServers,
    FolderClosed,
    FolderInUse,
    NatsServerSettings,
    OtherVersion,
    PortInUse,
    PostgresServerSettings,
    ServerMissing,
    StartFailed,
)
from ledger.embedded.account import Account, current_account, server_account
from ledger.embedded.folder import make_passable
from ledger.embedded.postgres_config import access_text, config_text, names_text
from ledger.embedded.process import Log, children_of, launch, processes_in
from ledger.embedded.programs import nats_program, postgres_program, version_of, within_reach
from tests.support.nats import EVERYTHING, everything, seed_file

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
STRANGER = Account("stranger", 54321, 54321)

OWNER = """
import asyncio, sys
from pathlib import Path
from ledger.embedded import EmbeddedServers

async def main() -> None:
    async with EmbeddedServers(Path(sys.argv[1])) as servers:
        await servers.postgres.create_database(sys.argv[2])
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def own(folder: Path, database: str) -> "subprocess.Popen[str]":
    """A process that starts both servers in `folder`, commits a new database and says `ready`."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, folder, database],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def psql(server: EmbeddedPostgres, query: str, *, dsn: str = "", password: str | None = None) -> str:
    """What `query` answers, or what psql says against it."""
    program = postgres_program(server.settings.programs).parent / "psql"
    done = subprocess.run(
        [program, "-XAtq", "-c", query, dsn or server.dsn],
        env={"PGPASSWORD": password or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback server
        return bytes(answer.read())


def mode(path: Path) -> int | None:
    """The permissions of `path`, or None if it is not there."""
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def leave(path: Path, text: str) -> None:
    """Leave a file from an earlier time in a server's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shown(pid: int) -> str:
    """What everybody who may look sees of a process: its command line and its environment."""
    return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


async def gone(folder: Path, seconds: float = 60) -> bool:
    """Whether no server works in `folder` any more, within `seconds`."""
    async with asyncio.timeout(seconds):
        while processes_in(folder, "postgres") or processes_in(folder, "nats-server"):
            await asyncio.sleep(0.01)
    return True


@pytest.fixture(scope="module")
async def mortal(server_root: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres on TCP for these tests to kill; each test starts it first."""
    server = EmbeddedPostgres(server_root / "mortal" / "postgres", PostgresServerSettings(tcp_port=0))
    make_passable(server_root / "mortal")
    yield server
    await server.stop()


@pytest.fixture
async def nats(server_folder: Path) -> AsyncIterator[EmbeddedNats]:
    async with EmbeddedNats(server_folder) as server:
        yield server


# Postgres


async def test_a_commit_survives_the_death_of_the_whole_server(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    await mortal.create_database("survivor")
    children = children_of(mortal.pid)
    await mortal.kill()
    assert children
    assert not mortal.running
    assert processes_in(mortal.folder, "postgres") == []
    await mortal.start()
    with pytest.raises(CommandFailed, match="create_database") as refused:
        await mortal.create_database("survivor")
    assert "already exists" in refused.value.hint
    await mortal.drop_database("survivor")


async def test_every_commit_is_on_the_disk_before_it_returns(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert psql(mortal, f"SHOW {name}") == "on", name


async def test_text_is_compared_by_its_bytes(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    query = "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname='ledger'"
    assert psql(mortal, query) == "C|UTF8"


async def test_tcp_is_loopback_alone_and_asks_for_the_password(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    password = mortal.password_file.read_text().strip()
    assert psql(mortal, "SHOW listen_addresses") == "127.0.0.1"
    assert psql(mortal, "SELECT 1", dsn=mortal.tcp_dsn, password=password) == "1"
    assert "authentication failed" in psql(mortal, "SELECT 1", dsn=mortal.tcp_dsn, password="guess")


async def test_without_being_asked_postgres_listens_on_its_socket_alone(
    postgres_server: EmbeddedPostgres,
) -> None:
    assert psql(postgres_server, "SHOW listen_addresses") == ""
    with pytest.raises(RuntimeError, match="socket alone"):
        _ = postgres_server.tcp_dsn


async def test_a_restart_keeps_the_port(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    before, pid = mortal.tcp_dsn, mortal.pid
    await mortal.restart()
    assert mortal.tcp_dsn == before
    assert mortal.pid != pid


async def test_a_server_that_ended_by_itself_is_seen_and_started_again(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    os.kill(mortal.pid, signal.SIGQUIT)
    async with asyncio.timeout(10):
        while mortal.running:
            await asyncio.sleep(0.01)
    await mortal.start()
    assert psql(mortal, "SELECT 1") == "1"


async def test_a_pid_file_that_names_a_stranger_keeps_nobody_out(mortal: EmbeddedPostgres) -> None:
    await mortal.start()
    await mortal.stop()
    stale = mortal.data / "postmaster.pid"
    account = server_account(mortal.folder)
    user = account.uid if os.geteuid() == 0 else None
    stranger = await asyncio.create_subprocess_exec("sleep", "60", user=user)
    try:
        leave(stale, f"{stranger.pid}\n{mortal.data}\n0\n5432\n\n\n\nready\n")
        await mortal.start()
        assert psql(mortal, "SELECT 1") == "1"
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_socket_path_that_is_too_long_is_replaced_by_a_short_one(server_folder: Path) -> None:
    server = EmbeddedPostgres(server_folder / ("long" * 25))
    make_passable(server_folder)
    async with server:
        assert psql(server, "SELECT 1") == "1"
        socket_folder = Path(psql(server, "SHOW unix_socket_directories"))
        assert not socket_folder.is_relative_to(server.folder)
        assert mode(socket_folder) == 0o700
    assert mode(socket_folder) is None
    os.mkdir(socket_folder)
    os.chmod(socket_folder, 0o740)
    with pytest.raises(FolderClosed, match="another user"):
        await server.start()
    os.rmdir(socket_folder)


async def test_the_folder_of_another_postgres_is_refused(server_folder: Path) -> None:
    leave(server_folder / "data" / "PG_VERSION", "12\n")
    with pytest.raises(OtherVersion, match="made by Postgres 12") as refused:
        await EmbeddedPostgres(server_folder).start()
    assert "pg_upgrade" in refused.value.hint


async def test_a_failed_start_tells_the_servers_last_words(mortal: EmbeddedPostgres) -> None:
    await mortal.stop()
    broken = EmbeddedPostgres(mortal.folder, PostgresServerSettings(shared_buffers_mb=0))
    with pytest.raises(StartFailed, match="ended with code 1") as failed:
        await broken.start()
    assert 'parameter "shared_buffers"' in failed.value.hint
    assert processes_in(mortal.folder, "postgres") == []
    await mortal.start()


async def test_a_taken_port_is_named_and_not_replaced(mortal: EmbeddedPostgres) -> None:
    await mortal.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse):
            await EmbeddedPostgres(mortal.folder, PostgresServerSettings(tcp_port=port)).start()


def test_a_folder_without_the_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerMissing, match="no postgres in the folder"):
        postgres_program(tmp_path)


def test_settings_cannot_leave_their_quotes() -> None:
    assert "port = '5'\n" in config_text({"port": 5})
    assert "unix_socket_directories = 'a''b\\\\c'\n" in config_text({"unix_socket_directories": "a'b\\c"})


def test_tcp_opens_only_when_asked() -> None:
    assert "host" not in access_text(False)
    assert "host all all 127.0.0.1/32 scram-sha-256\n" in access_text(True)
    assert names_text({"b", "a"}) == 'people "a" all\npeople "b" all\n'


# nats-server


async def test_nats_writes_to_the_disk_before_it_acknowledges(nats_server: EmbeddedNats) -> None:
    status = json.loads(get(f"{nats_server.monitor_url}/varz"))
    assert status["jetstream"]["config"]["sync_always"] is True
    assert status["auth_required"] is True
    assert status["host"] == status["http_host"] == "127.0.0.1"


async def test_nats_keeps_its_ports_and_its_list_of_users(nats: EmbeddedNats) -> None:
    await nats.admit(EVERYTHING)
    before = (nats.url, nats.monitor_url, nats.users())
    await nats.restart()
    assert (nats.url, nats.monitor_url, nats.users()) == before
    await nats.kill()
    assert processes_in(nats.folder, "nats-server") == []
    await nats.start()
    assert (nats.url, nats.monitor_url, nats.users()) == before
    assert EmbeddedNats(nats.folder).users() == EVERYTHING


async def test_nats_without_a_list_of_users_lets_nobody_in(nats: EmbeddedNats) -> None:
    assert json.loads(get(f"{nats.monitor_url}/varz"))["auth_required"] is True
    with pytest.raises(BusRefused):
        await Bus.connect(BusSettings(url=nats.url), "anybody")


async def test_a_list_that_nats_cannot_read_is_refused_and_the_old_one_holds(
    nats: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nats.admit(EVERYTHING)
    monkeypatch.setattr("ledger.embedded.nats.RELOAD_SECONDS_MAX", 1)
    with pytest.raises(CommandFailed, match="did not take"):
        await nats.admit("authorization { users: [ {nkey: nobody} ] }\n")
    await nats.restart()
    async with await Bus.connect(everything(nats), "still here") as bus:
        await bus.ensure_stream()


async def test_the_token_of_an_earlier_version_is_removed(server_folder: Path) -> None:
    leave(server_folder / "token", "secret\n")
    async with EmbeddedNats(server_folder) as nats:
        assert not (nats.folder / "token").exists()


async def test_a_taken_nats_port_is_named(server_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = NatsServerSettings(port=taken.getsockname()[1])
        with pytest.raises(PortInUse):
            await EmbeddedNats(server_folder, settings).start()


@pytest.mark.parametrize("made_by", ["1.4", "2.999", "3.0"])
async def test_a_store_of_a_newer_or_foreign_nats_is_refused(server_folder: Path, made_by: str) -> None:
    leave(server_folder / "made-by", f"{made_by}\n")
    with pytest.raises(OtherVersion, match=f"made by nats-server {made_by}"):
        await EmbeddedNats(server_folder).start()


async def test_a_failed_start_tells_the_last_words_of_nats(server_folder: Path) -> None:
    server = EmbeddedNats(server_folder, NatsServerSettings(sync_interval="sometimes"))
    with pytest.raises(StartFailed) as failed:
        await server.start()
    assert "sync_interval" in failed.value.hint


# Both


async def test_secrets_are_in_private_files_and_on_no_command_line(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats
) -> None:
    seed = seed_file(nats_server)
    for server, secret in (
        (postgres_server, postgres_server.password_file.read_text().strip()),
        (nats_server, seed.read_text().strip()),
    ):
        private = [path for path in server.folder.iterdir() if path.is_file()]
        assert set(map(mode, private)) == {0o600}
        assert len(secret) > 40
        for pid in (server.pid, *children_of(server.pid)):
            assert secret not in shown(pid)
    held = [path.read_text() for path in nats_server.folder.glob("*.conf")]
    assert len(held) == 2
    assert not any(seed.read_text().strip() in text for text in held)


@as_root
async def test_no_server_runs_as_root(postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats) -> None:
    for server in (postgres_server, nats_server):
        assert owner_of(server.pid) == server_account(server.folder).uid != 0


@pytest.fixture
async def owned(mortal: EmbeddedPostgres) -> Path:
    """The folder of an installation that nobody runs at the moment."""
    await mortal.stop()
    return mortal.folder.parent


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=str)
async def test_no_server_outlives_its_owner(owned: Path, end: signal.Signals) -> None:
    with own(owned, f"by_{end.name.lower()}") as owner:
        try:
            assert await asyncio.to_thread(owner.stdout.readline) == "ready\n"  # type: ignore[union-attr]  # a pipe was asked for
            assert processes_in(owned, "postgres")
            assert processes_in(owned, "nats-server")
            with pytest.raises(FolderInUse, match=f"process {owner.pid} has this folder"):
                await EmbeddedPostgres(owned / "postgres").start()
            with pytest.raises(FolderInUse, match=f"process {owner.pid} has this folder"):
                await EmbeddedNats(owned / "nats").start()
        finally:
            owner.send_signal(end)
        await asyncio.to_thread(owner.wait)
    # The next owner need not wait: it takes over what the dead one left, and finds all of it.
    async with EmbeddedServers(owned) as servers:
        with pytest.raises(CommandFailed):
            await servers.postgres.create_database(f"by_{end.name.lower()}")
    assert await gone(owned)


async def test_a_killed_program_takes_all_that_descends_from_it_along(server_folder: Path) -> None:
    make_passable(server_folder)
    breeding = "for i in $(seq 20); do sh -c 'sleep 60; :' & done; sleep 60"
    for seconds in (0.01, 0.03, 0.2):
        process = launch(
            ["/bin/sh", "-c", breeding],
            account=current_account(),
            folder=server_folder,
            log=Log(server_folder / "log"),
            death_signal=signal.SIGKILL,
        )
        await asyncio.sleep(seconds)
        await process.kill()
        assert processes_in(server_folder, "sh") == processes_in(server_folder, "sleep") == []


async def test_an_owner_killed_while_it_makes_the_cluster_leaves_nothing_behind(server_folder: Path) -> None:
    with own(server_folder, "never") as owner:
        async with asyncio.timeout(60):
            while not list((server_folder / "postgres").glob("data.new-*/global")):
                await asyncio.sleep(0.005)
        owner.kill()
        await asyncio.to_thread(owner.wait)
    async with EmbeddedPostgres(server_folder / "postgres") as server:
        assert psql(server, "SELECT 1") == "1"
    assert await gone(server_folder)


async def test_if_one_server_cannot_start_neither_runs(owned: Path) -> None:
    servers = EmbeddedServers(owned, nats=NatsServerSettings(sync_interval="sometimes"))
    with pytest.raises(StartFailed, match="nats-server"):
        await servers.start()
    assert not servers.postgres.running
    assert await gone(owned, 1)


async def test_the_same_folder_is_not_started_twice_in_one_process(nats: EmbeddedNats) -> None:
    with pytest.raises(FolderInUse, match=f"process {os.getpid()} has"):
        await EmbeddedNats(nats.folder).start()


# Folders, accounts, programs


def test_the_outermost_closed_folder_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    tmp_path.joinpath("closed").chmod(0o700)
    owner = current_account()
    assert Account("other", STRANGER.uid, STRANGER.gid).first_closed(Path("/")) is None
    assert owner.first_closed(inner) is None
    tmp_path.joinpath("closed").chmod(0o600)
    assert owner.first_closed(inner) == tmp_path / "closed"


def test_the_mask_of_new_files_does_not_shut_the_servers_out(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_passable(tmp_path / "data")
    finally:
        os.umask(before)
    assert mode(tmp_path / "data") == (0o711 if os.geteuid() == 0 else 0o700)


@as_root
async def test_root_is_told_which_folder_the_server_cannot_pass(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    with pytest.raises(FolderClosed, match="may not pass through") as refused:
        await EmbeddedNats(tmp_path / "nats").start()
    assert "/var/lib/energy-ledger" in refused.value.hint


@as_root
async def test_programs_that_only_root_can_reach_are_copied_and_run(tmp_path: Path, owned: Path) -> None:
    package = postgres_program(None).parents[2]
    await asyncio.to_thread(shutil.copytree, package, tmp_path / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    await asyncio.to_thread(shutil.copytree, libraries, tmp_path / libraries.name, symlinks=True)
    hidden = tmp_path / postgres_program(None).parent.relative_to(package.parent)
    async with EmbeddedPostgres(owned / "postgres", PostgresServerSettings(programs=hidden)) as server:
        assert psql(server, "SELECT 1") == "1"


def test_a_copied_program_is_open_to_all_and_made_once(tmp_path: Path) -> None:
    program = nats_program(None)
    version = version_of(program)
    hidden = tmp_path / "hidden" / program.name
    hidden.parent.mkdir()
    hidden.write_bytes(program.read_bytes())
    hidden.chmod(0o700)
    copy = within_reach(hidden, STRANGER, tmp_path, version)
    assert copy != hidden
    assert mode(copy) == 0o755
    assert version_of(copy) == version
    made = copy.stat().st_ino
    assert within_reach(hidden, STRANGER, tmp_path, version).stat().st_ino == made


def test_a_logs_tail_is_of_this_start_alone_and_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("an earlier start\n")
    log = Log(path)
    with path.open("a") as file:
        file.write("token hunter2 is wrong\n")
    assert log.tail(["hunter2"]) == "token *** is wrong"
