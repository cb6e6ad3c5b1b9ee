"""NKEYs, what is signed by them and what never is; the list of users as the registry has it."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # the library has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import bus_users
from ledger.bus import Bus, BusRefused, BusSettings, User
from ledger.bus.nkey import StrangeNonce, sign_nonce, user_nkey
from ledger.bus.users import SERVICES, users_text
from ledger.bus_users import (
    UserList,
    UsersNotWritten,
    device_keys,
    service_key_file,
    service_keys,
    service_user,
    still_fits,
    user_of,
    write_users,
)
from ledger.envelope import RunHead, signed_text
from ledger.keys import KeyFile, SigningKey
from ledger.registry import OPERATOR, SERVICE, Device, Registry, possession_text
from ledger.settings import CommunitySettings, DataSettings, Settings

NAMES = st.from_regex(r"[a-z0-9._-]{1,64}", fullmatch=True)
HEADS = st.builds(
    RunHead, NAMES, st.integers(1, 2**53), st.integers(1, 2**53), st.binary(min_size=32, max_size=32)
)


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_named_and_proven_as_nats_own_library_does(seed: bytes) -> None:
    pair = nkeys.from_seed(bytearray(nkeys.encode_seed(seed, nkeys.PREFIX_BYTE_USER)))
    key = SigningKey(seed)
    assert user_nkey(key.public) == pair.public_key.decode()
    assert sign_nonce(key, "Zm9yIHRlc3Rz_-1") == base64.b64encode(pair.sign(b"Zm9yIHRlc3Rz_-1"))


@given(NAMES, NAMES, st.lists(HEADS, max_size=3))
def test_no_text_of_the_ledger_is_signed_for_a_nonce(
    community: str, device: str, heads: list[RunHead]
) -> None:
    for text in (signed_text(community, device, heads), possession_text(community, device, "00" * 32)):
        with pytest.raises(StrangeNonce):
            sign_nonce(SigningKey.generate(), text.decode())


@pytest.mark.parametrize(
    "nonce", ["", "short", "x" * 65, "with space", "line\nline", "abcdefgh\n", "é" * 9, 7]
)
def test_what_is_no_nonce_is_not_signed(nonce: object) -> None:
    with pytest.raises(StrangeNonce):
        sign_nonce(SigningKey.generate(), nonce)


@asynccontextmanager
async def lying(nonce: object) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that wants something of its own signed, and what it was told."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "S", "max_payload": 1_048_576, "auth_required": True, "nonce": nonce}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                heard.append(line)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as listening:
        yield f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}", heard


async def test_a_server_that_puts_an_envelope_in_the_nonces_place_gets_no_signature() -> None:
    key = SigningKey.generate()
    text = signed_text("campus", "gw-1", [RunHead("meter/m-1", 1, 1, bytes(32))])
    async with lying(text.decode()) as (url, heard):
        with pytest.raises(BusRefused, match="no NATS to be trusted") as refused:
            await Bus.connect(BusSettings(url=url), "gw-1", User("campus", "device", "gw-1", key))
        assert "nothing was signed" in refused.value.hint
        assert heard == []


# --- the list ----------------------------------------------------------------------------------------------


def registry(**devices: SigningKey | None) -> Registry:
    """A registry with these gateways beside the two that a book is opened with; without a key: revoked."""
    made = Registry("campus")
    made.devices[OPERATOR] = Device("operator", SigningKey.generate().public)
    made.devices[SERVICE] = Device("service", SigningKey.generate().public)
    for name, key in devices.items():
        made.devices[name] = Device("gateway", key.public if key else None)
    return made


def settings(folder: Path) -> Settings:
    return Settings(CommunitySettings("campus"), DataSettings(str(folder)))


def test_devices_are_listed_by_their_valid_keys_alone() -> None:
    key = SigningKey.generate()
    assert device_keys(registry(a=key, b=None)) == {"a": key.public}


def test_nobody_is_no_list() -> None:
    with pytest.raises(ValueError, match="everybody"):
        users_text("campus", {}, {})


def test_services_have_keys_of_their_own_that_nobody_else_can_read(tmp_path: Path) -> None:
    here = settings(tmp_path)
    made = service_keys(here)
    again = service_keys(here)
    assert {name: key.id for name, key in again.items()} == {name: key.id for name, key in made.items()}
    assert len({key.id for key in made.values()}) == len(SERVICES)
    for service in SERVICES:
        path = service_key_file(here, service)
        modes = [each.stat().st_mode & 0o777 for each in (path, path.parent, here.keys_folder)]
        assert modes == [0o600, 0o700, 0o700]
    fitting = users_text("campus", made, {})
    assert still_fits(fitting, "campus", made)
    assert not still_fits("", "campus", made)
    assert not still_fits(fitting.replace('"$JS.API.STREAM.INFO.ENVELOPES",', ""), "campus", made)


def test_a_folder_of_keys_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFile):
        service_user(settings(tmp_path / "file"), "writer")


def test_who_signs_as_operator_or_service_connects_by_another_key(tmp_path: Path) -> None:
    key = SigningKey.generate()
    for device, service in ((OPERATOR, "operator"), (SERVICE, "settler")):
        found = user_of(settings(tmp_path), device, key)
        assert (found.kind, found.name) == ("service", service)
        assert found.key.public.id != key.public.id
    found = user_of(settings(tmp_path), "gw-1", key)
    assert found == User("campus", "device", "gw-1", key)


def test_a_device_named_like_a_service_has_another_inbox() -> None:
    key = SigningKey.generate()
    names = {User("campus", kind, "writer", key).inbox for kind in ("device", "service")}
    assert len(names) == 2


def test_a_list_is_written_whole_and_for_all_to_read(tmp_path: Path) -> None:
    path = tmp_path / "made" / "users.conf"
    for text in ("one", "two"):
        write_users(path, text)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["users.conf"]


def test_a_list_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsersNotWritten) as failed:
        write_users(tmp_path / "file" / "users.conf", "text")
    assert failed.value.where.endswith("users.conf")


async def test_a_list_is_written_when_a_key_comes_changes_or_goes_and_not_otherwise() -> None:
    written: list[str] = []

    async def admit(text: str) -> None:
        written.append(text)

    users = UserList("campus", {"writer": SigningKey.generate().public}, admit)
    key, other = SigningKey.generate(), SigningKey.generate()
    for count, state in ((1, registry()), (1, registry()), (2, registry(a=key)), (2, registry(a=key)),
                         (3, registry(a=other)), (4, registry(a=None)), (4, registry())):  # fmt: skip
        await users.refresh(state)
        assert len(written) == count
    assert user_nkey(key.public) in written[1]
    assert user_nkey(key.public) not in written[2]
    assert user_nkey(other.public) not in written[3]


async def test_a_list_that_could_not_be_written_is_written_later() -> None:
    tries: list[str] = []

    async def admit(text: str) -> None:
        tries.append(text)
        if len(tries) == 1:
            raise UsersNotWritten("no room")

    users = UserList("campus", {"writer": SigningKey.generate().public}, admit)
    with pytest.raises(UsersNotWritten):
        await users.refresh(registry())
    await users.refresh(registry())
    assert len(tries) == 2


async def test_a_failure_that_nobody_thought_of_does_not_end_the_keeping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_users, "RETRY_SECONDS", 0.0)
    stop, tries = asyncio.Event(), list[str]()

    async def admit(text: str) -> None:
        tries.append(text)
        if len(tries) == 1:
            raise ValueError("nobody thought of it")
        stop.set()

    async with asyncio.timeout(5):
        await UserList("campus", {"writer": SigningKey.generate().public}, admit).keep(registry, stop)
    assert len(tries) == 2
