"""The container files are valid, keep what the embedded servers promise, and name only what exists."""

import asyncio
import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.cli import COMMANDS
from ledger.bus.users import users_text
from ledger.bus_users import write_users
from ledger.embedded.postgres_config import FIXED
from ledger.embedded.programs import nats_program, postgres_program, version_of
from ledger.keys import SigningKey

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NODES = ("nats-1", "nats-2", "nats-3")
PROCESSES = ("writer", "projector", "gateway", "api")
PACKAGES = ("ledger", "ingest", "settlement", "contracts", "api")
OURS = ("migrate", "users", *PROCESSES)
KEY = SigningKey.generate()
DURABLE = ("fsync", "synchronous_commit", "full_page_writes", "wal_compression", "log_min_error_statement")


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@cache
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def commands() -> Iterator[str]:
    """Every sub-command of `energy-ledger` that the container files run."""
    for name in OURS:
        yield " ".join(services()[name]["command"])
        test = services()[name]["healthcheck"].get("test", [])
        yield from test[2:3]
    yield from re.findall(r'HEALTHCHECK .*CMD \["energy-ledger", "([a-z-]+)"', DOCKERFILE)


def test_the_compose_file_is_valid() -> None:
    schema = json.loads((ROOT / "tests" / "vectors" / "compose-spec.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(compose())] == []


def test_everything_that_is_named_is_there() -> None:
    for name, service in services().items():
        for kind in ("configs", "secrets", "networks"):
            used = {one["source"] if isinstance(one, dict) else one for one in service.get(kind, [])}
            assert used <= set(compose()[kind]), name
        assert {one.split(":")[0] for one in service["volumes"]} <= set(compose()["volumes"]), name
        assert set(service.get("depends_on", {})) <= set(services()), name


def test_every_command_exists() -> None:
    places = {one.words: one.place for heading in COMMANDS.values() for one in heading}
    for command in set(commands()):
        module, _, function = places[command].partition(":")
        assert callable(getattr(import_module(module), function)), command
    assert 'ENTRYPOINT ["energy-ledger"]' in DOCKERFILE


def test_every_variable_is_read() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + DOCKERFILE
    read = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for variable in set(re.findall(r"\bENERGY_LEDGER_[A-Z_]+", text)):
        assert f'"{variable}"' in read, variable


@pytest.mark.parametrize("name", [*NODES, *PROCESSES, "postgres"])
def test_every_lasting_service_is_watched_and_restarted(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_wait_for_the_migrations_and_for_nats(name: str) -> None:
    awaited = {one: how["condition"] for one, how in services()[name]["depends_on"].items()}
    assert awaited == {"migrate": "service_completed_successfully"} | dict.fromkeys(NODES, "service_healthy")


@pytest.mark.parametrize("name", OURS)
def test_processes_have_no_more_rights_than_they_need(name: str) -> None:
    service = services()[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root
    assert re.findall(r"^USER (\d+):", DOCKERFILE, re.MULTILINE) == ["10001"]


def test_secrets_are_files_and_never_values() -> None:
    assert all(set(secret) == {"file"} for secret in compose()["secrets"].values())
    for service in services().values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|SEED|_KEY", variable):
                assert variable.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
        assert "://:" not in str(service)
        assert not re.search(r"//[^/@]+:[^/@]+@", str(service))


def test_the_gateway_cannot_reach_the_database() -> None:
    gateway = services()["gateway"]
    assert set(gateway["networks"]).isdisjoint(services()["postgres"]["networks"])
    assert "secrets" not in gateway


def test_who_is_no_user_of_nats_cannot_reach_it() -> None:
    for name in ("projector", "migrate", "users"):
        assert set(services()[name]["networks"]).isdisjoint(services()["nats-1"]["networks"]), name


def test_the_list_of_users_is_written_by_the_ledger_and_only_read_by_the_nodes() -> None:
    mounted = {
        name: volume
        for name, service in services().items()
        for volume in service["volumes"]
        if volume.startswith("users:")
    }
    written = dict.fromkeys(("users", "writer"), "users:/users")
    assert mounted == written | dict.fromkeys(NODES, "users:/etc/nats/users:ro")
    listed = services()["writer"]["environment"]["ENERGY_LEDGER_NATS_USERS_FILE"]
    assert (
        services()["users"]["environment"]["ENERGY_LEDGER_NATS_USERS_FILE"] == listed == "/users/users.conf"
    )
    assert "--owner 10001 --group 10001 --mode 0755 /users\n" in DOCKERFILE
    for name in NODES:
        assert services()[name]["depends_on"] == {"users": {"condition": "service_completed_successfully"}}


def test_nothing_is_published() -> None:
    assert not [name for name, service in services().items() if "ports" in service]
    open_to = {name for name, one in compose()["networks"].items() if not one.get("internal")}
    assert {
        name: open_to & set(one["networks"]) for name, one in services().items() if "networks" in one
    } == {name: {"gateway": {"field"}, "api": {"outside"}}.get(name, set()) for name in services()}


def test_only_files_are_mounted_into_a_read_only_service() -> None:
    """Compose refuses to write a configuration given as text into a read-only container."""
    for service in services().values():
        texts = [
            one for one in service.get("configs", []) if "content" in compose()["configs"][one["source"]]
        ]
        assert not (texts and service.get("read_only"))


def test_postgres_is_as_durable_as_the_embedded_one() -> None:
    given = dict(option.removeprefix("--").split("=") for option in services()["postgres"]["command"][1:])
    assert {name: given[name] for name in DURABLE} == {name: FIXED[name] for name in DURABLE}
    assert "--data-checksums" in services()["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    major = version_of(postgres_program(None)).major
    assert services()["postgres"]["image"].startswith(f"postgres:{major}-")


def test_each_node_has_its_own_name_and_volume() -> None:
    assert [services()[name]["environment"]["NATS_NAME"] for name in NODES] == list(NODES)
    assert [services()[name]["volumes"][0] for name in NODES] == [f"{name}:/data" for name in NODES]
    assert all(services()[name]["command"] == services()["nats-1"]["command"] for name in NODES)


def test_nodes_listen_to_nodes_and_tell_of_themselves_where_no_gateway_is() -> None:
    text = compose()["configs"]["nats"]["content"]
    assert re.findall(r'"0\.0\.0\.0:(\d+)"', text) == ["4222"]
    assert re.search(r"\nhttp: \$\$NATS_MONITOR\n", text)
    assert re.search(r"cluster \{[^[]*\n  host: \$\$NATS_ROUTE\n  port: 6222\n", text)
    for name in NODES:
        route, monitor = f"{name}-route", f"{name}-monitor"
        assert services()[name]["networks"] == {
            "messages": None, "routes": {"aliases": [route]}, "monitors": {"aliases": [monitor]},
        }  # fmt: skip
        assert services()[name]["environment"] == {
            "NATS_NAME": name, "NATS_ROUTE": route, "NATS_MONITOR": f"{monitor}:8222",
        }  # fmt: skip
        assert f'"nats-route://{route}:6222"' in text
    within = {
        network: {name for name, one in services().items() if network in one.get("networks", ())}
        for network in ("routes", "monitors")
    }
    assert within == {"routes": set(NODES), "monitors": {*NODES, "writer", "settler", "api"}}
    asked = services()["writer"]["environment"]["ENERGY_LEDGER_NATS_MONITOR_URL"]
    assert asked == f"http://{services()['nats-1']['environment']['NATS_MONITOR']}"


async def test_the_nodes_form_a_cluster_that_syncs(tmp_path: Path) -> None:
    """The configuration text as it is, but for addresses and folders, run by the real server."""
    write_users(tmp_path / "users" / "users.conf", users_text("campus", {"writer": KEY.public}, {}))
    monitors = [free_port() for _ in NODES]
    routes = [free_port() for _ in NODES]
    with ExitStack() as running:
        for number, name in enumerate(NODES):
            text = compose()["configs"]["nats"]["content"].replace("$$", "$")
            text = text.replace("0.0.0.0:4222", "127.0.0.1:-1").replace("/data", str(tmp_path / name))
            text = text.replace("port: 6222", f"port: {routes[number]}")
            for node, port in zip(NODES, routes, strict=True):
                text = text.replace(f"{node}-route:6222", f"127.0.0.1:{port}")
            config = tmp_path / f"{name}.conf"
            config.write_text(text)
            server = running.enter_context(start_node(config, name, monitors[number]))
            running.callback(server.terminate)
        async with asyncio.timeout(30):
            while await asyncio.to_thread(nodes_with_a_leader, monitors[0]) != len(NODES):
                await asyncio.sleep(0.05)
        varz = await asyncio.to_thread(get, f"http://127.0.0.1:{monitors[0]}/varz")
        assert varz["jetstream"]["config"]["sync_always"] is True
        assert varz["auth_required"] is True


async def test_a_node_reads_its_list_again_when_that_changes_and_ends_when_it_is_told_to(
    tmp_path: Path,
) -> None:
    """The shell's text as it is, but for the folder and the pause, with the real server."""
    users = tmp_path / "users" / "users.conf"
    write_users(users, users_text("campus", {"writer": KEY.public}, {}))
    monitor = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:-1"\nhttp: "127.0.0.1:{monitor}"\ninclude "users/users.conf"\n')
    text = services()["nats-1"]["command"][0].replace("$$", "$")
    text = text.replace("/etc/nats", str(tmp_path)).replace("sleep 2", "sleep 0.1")
    text = text.replace("nats-server", str(nats_program(None)))
    with start_shell(text) as node:
        try:
            first = await answered(f"http://127.0.0.1:{monitor}/varz")
            key = SigningKey.generate().public
            write_users(users, users_text("campus", {"writer": KEY.public}, {"gw-1": key}))
            async with asyncio.timeout(20):
                while (await answered(f"http://127.0.0.1:{monitor}/varz"))["config_load_time"] == first[
                    "config_load_time"
                ]:
                    await asyncio.sleep(0.05)
        finally:
            node.terminate()
        assert await asyncio.to_thread(node.wait, 20) == 0
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(get, f"http://127.0.0.1:{monitor}/varz")


def test_a_list_that_is_replaced_while_a_node_begins_is_read_again() -> None:
    text = services()["nats-1"]["command"][0]
    assert 0 < text.index("known=$$(cksum") < text.index("nats-server --config")


async def answered(url: str) -> dict[str, Any]:
    """What a server says, as soon as it says something."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncio.to_thread(get, url)
            except (urllib.error.URLError, ConnectionError):
                await asyncio.sleep(0.05)


def test_the_image_holds_every_package_and_only_locked_dependencies() -> None:
    for package in PACKAGES:
        assert f"COPY {package} {package}\n" in DOCKERFILE
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert all("--require-hashes" in one or "--no-index --no-deps" in one for one in installs)
    assert len(installs) == 2


def start_shell(text: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", text], stderr=subprocess.DEVNULL)


def start_node(config: Path, name: str, monitor: int) -> "subprocess.Popen[bytes]":
    """A node with its variables, as the container has it."""
    return subprocess.Popen(
        [nats_program(None), "--config", config],
        env={"NATS_NAME": name, "NATS_ROUTE": "127.0.0.1", "NATS_MONITOR": f"127.0.0.1:{monitor}"},
        stderr=subprocess.DEVNULL,
    )


def nodes_with_a_leader(monitor_port: int) -> int:
    """How many nodes are in the cluster that a node belongs to; 0 while that has no leader."""
    try:
        status = get(f"http://127.0.0.1:{monitor_port}/jsz").get("meta_cluster", {})
    except (urllib.error.URLError, ConnectionError):
        return 0
    return int(status["cluster_size"]) if status.get("leader") else 0


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback server
        found: dict[str, Any] = json.load(answer)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
