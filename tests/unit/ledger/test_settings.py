"""The settings file: what it may say, how the environment overrides it, and how a mistake is told."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.bus import BusSettings
from ledger.postgres import PostgresSettings
from ledger.settings import (
    ENVIRONMENT,
    RUNNING,
    NotRunning,
    Running,
    Settings,
    SettingsInvalid,
    device_settings,
    load_settings,
    read_toml,
    settings_from,
    with_servers,
)

SMALLEST = '[community]\nid = "campus"\n'
SERVERS = '[postgres]\nurl = "postgresql://db/ledger"\n[nats]\nurl = "nats://bus:4222"\n'

WITNESS = "witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k"


def witness(url: str) -> str:
    """A witness with its prefix."""
    return f'[[log.witnesses]]\nvkey = "{WITNESS}"\nurl = "{url}"\n'


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "energy-ledger.toml"
    path.write_text(text)
    return path


def read(folder: Path, text: str, environment: dict[str, str] | None = None, **options: Any) -> Settings:
    """The settings that a file makes."""
    path = write(folder, text)
    return settings_from(read_toml(path, environment or {}), path, **options)


def test_the_name_of_the_community_is_all_that_must_be_said(tmp_path: Path) -> None:
    settings = read(tmp_path, SMALLEST)
    assert settings.community.zone == "Asia/Bangkok"
    assert settings.community.interval_minutes == 15
    assert settings.origin == "ledger.local/campus"
    assert settings.is_embedded
    assert settings.data_folder == tmp_path / "data"
    assert settings.keys_folder == tmp_path / "data" / "keys"


def test_relative_paths_are_taken_from_the_files_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[data]\nfolder = "here"\nkeys = "/etc/keys"\n[nats]\nnkey_seed_file = "secrets/seed"\n'
    path = write(tmp_path, SMALLEST + text)
    monkeypatch.chdir(tmp_path.parent)
    tables = read_toml(Path(tmp_path.name) / path.name, {})
    settings = msgspec.convert(tables, Settings)
    assert settings.data_folder == tmp_path / "here"
    assert settings.keys_folder == Path("/etc/keys")
    assert settings.nats.nkey_seed_file == str(tmp_path / "secrets" / "seed")


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_the_environment_overrides_the_file(tmp_path: Path, variable: str) -> None:
    table, key = ENVIRONMENT[variable]
    tables = read_toml(write(tmp_path, f'{SMALLEST}[{table}]\n{key} = "of the file"\n'), {variable: "/of/it"})
    assert tables[table][key] == "/of/it"
    assert read_toml(write(tmp_path, SMALLEST), {variable: "/of/it"})[table][key] == "/of/it"
    empty = read_toml(write(tmp_path, SMALLEST), {variable: ""})
    assert empty.get(table, {}).get(key) != "", "an empty variable overrides nothing"


def test_tables_that_other_packages_own_are_left_to_them(tmp_path: Path) -> None:
    text = f'{SMALLEST}[gateway]\nid = "gw-1"\n'
    assert read(tmp_path, text, others=["gateway"]).community.id == "campus"
    with pytest.raises(SettingsInvalid):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "what", "where", "hint"),
    [
        ("", "required field `community`", "", ""),
        ('[comunity]\nid = "a"', "unknown field `comunity`", "", "did you mean `community`?"),
        (f'{SMALLEST}zome = "Asia/Bangkok"', "unknown field `zome`", "community", "did you mean `zone`?"),
        (f"{SMALLEST}[writer]\nseal_second = 3", "unknown field", "writer", "did you mean `seal_seconds`?"),
        (f"{SMALLEST}[writer]\nqqq = 3", "unknown field `qqq`", "writer", "allowed in [writer]: batch_"),
        (f"{SMALLEST}[data]\nqqq = 3", "unknown field `qqq`", "data", "allowed in [data]: folder, keys"),
        (
            f"{SMALLEST}[data]\nfoldr = 3",
            "unknown field `foldr`",
            "data",
            "did you mean `folder`? allowed in",
        ),
        (
            f'{SMALLEST}[data]\nurl = "x"',
            "unknown field `url`",
            "data",
            "`url` belongs under [postgres] or [nats]",
        ),
        (
            'id = "campus"',
            "unknown field `id`",
            "",
            "`id` belongs under [community]; allowed in this file: b",
        ),
        (f'{SMALLEST}[feeders]\nid = "f"', "Expected `array`", "feeders", "write [[feeders]], once for each"),
        (f"{SMALLEST}[[feeders]]\nidd = 3", "unknown field `idd`", "feeders[0]", "in [[feeders]]: id, name"),
        (f"{SMALLEST}[log]\nquorum = 1", "there are 0 witnesses", "log.quorum", ""),
        (
            f'{SMALLEST}[[log.witnesses]]\nvkey = "x"\nurl = "y"',
            "name+id+base64",
            "log.witnesses[0].vkey",
            "",
        ),
        (f'{SMALLEST}[[log.witnesses]]\nvkey = "{WITNESS}"\nurl = "y"', "https", "log.witnesses[0].url", ""),
        (f"{SMALLEST}{2 * witness('https://w')}", "as well", "log.witnesses[1].vkey", ""),
        (f"{SMALLEST}{witness('https://w/')}", "without a slash", "log.witnesses[0].url", ""),
        ("[[qqq]]", "", "", "allowed in this file: buildings, community, data, feeders, log, nats, postgres"),
        ('[community]\nid = "My Campus"', "does not have the form", "community.id", "[a-z0-9._-]"),
        (
            f"{SMALLEST}interval_minutes = 7",
            "Invalid enum value 7",
            "community.interval_minutes",
            "5, 10, 15, 30, 60",
        ),
        (f'{SMALLEST}currency = "baht"', "does not have the form", "community.currency", "such as THB"),
        (
            f'{SMALLEST}zone = "Asia/Bankok"',
            "no time zone 'Asia/Bankok'",
            "community.zone",
            "mean `Asia/Bangkok`",
        ),
        (f'{SMALLEST}zone = "../../etc/passwd"', "no time zone", "community.zone", "Asia/Bangkok"),
        (f'{SMALLEST}zone = ""', "no time zone", "community.zone", "Asia/Bangkok"),
        (
            f'{SMALLEST}origin = "https://ledger.example.org/campus"',
            "begins with https://",
            "community.origin",
            'origin = "ledger.example.org/campus"',
        ),
        (f'{SMALLEST}origin = "our ledger"', "not have the form", "community.origin", "without its scheme"),
        (f'data = "here"\n{SMALLEST}', "Expected `object`, got `str`", "data", "a table is meant"),
        (f"nats = 4222\n{SMALLEST}", "Expected `object`, got `int`", "nats", ""),
        (f"community = []\n{SMALLEST[12:]}", "", "", ""),
        (
            f"{SMALLEST}[writer]\nseal_seconds = 0",
            "seal_seconds has to be at least 1",
            "writer.seal_seconds",
            "",
        ),
        (f"{SMALLEST}[writer]\nbatch_envelopes = -1", "has to be at least 1", "writer.batch_envelopes", ""),
        (f"{SMALLEST}[writer]\nwait_seconds = 0.0", "has to be above 0.0", "writer.wait_seconds", ""),
        (
            f'{SMALLEST}[postgres]\nurl = "postgresql://db"',
            "both postgres.url and nats.url",
            "",
            "leave both",
        ),
        (f'{SMALLEST}[nats]\nurl = "nats://bus"', "both postgres.url and nats.url", "", "leave both out"),
        (f'{SMALLEST}[[feeders]]\nid = "f"\n[[feeders]]\nid = "f"', "f is listed twice", "feeders", ""),
        (f'{SMALLEST}[[buildings]]\nid = "b"\nfeeder = "f"', "feeder f, which is not", "buildings", "none"),
        (f"{SMALLEST}[", "cannot be read", "", "text stands in quotes"),
        (f'{SMALLEST}currency = "THB\\n"', "does not have the form", "community.currency", "three capitals"),
        (f"{SMALLEST}name = Campus", "TOML: Invalid value (at line 3", "", "text stands in quotes"),
        (
            f"{SMALLEST}[writer]\nseal_seconds = {'9' * 5_000}",
            "a number is beyond all numbers",
            "",
            "text stands in quotes",
        ),
        (f"{SMALLEST}[writer]\nseal_seconds = {'9' * 4_000}", "at most 9,007,199", "writer.seal_seconds", ""),
        (
            f"{SMALLEST}[writer]\nseal_seconds = {'[' * 3_000}",
            "lists without end",
            "",
            "text stands in quotes",
        ),
        (f"{SMALLEST}origin = {'[' * 300}{']' * 300}", "got `array`", "origin", "text is meant"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_was_perhaps_meant(
    tmp_path: Path, text: str, what: str, where: str, hint: str
) -> None:
    with pytest.raises(SettingsInvalid) as told:
        read(tmp_path, text)
    assert what in told.value.what
    assert str(tmp_path) in told.value.where
    assert told.value.where.endswith(where)
    assert hint in told.value.hint


def test_a_table_that_another_package_owns_may_be_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as told:
        read(tmp_path, f'{SMALLEST}[[gateway]]\nid = "gw-1"', others=["gateways"])
    assert told.value.hint.startswith("did you mean `gateways`? allowed in this file: buildings, ")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        read_toml(tmp_path / name, {})


def test_a_file_that_an_editor_began_with_a_mark_of_its_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "energy-ledger.toml"
    path.write_bytes(SMALLEST.encode("utf-8-sig"))
    assert read_toml(path, {})["community"] == {"id": "campus"}


def test_the_environment_cannot_break_a_file_that_is_wrong_already(tmp_path: Path) -> None:
    for variable in ENVIRONMENT:
        with pytest.raises(SettingsInvalid):
            read(tmp_path, f'data = "x"\nnats = 1\npostgres = 2\n{SMALLEST}', {variable: "y"})


@pytest.mark.parametrize("make", [None, b"\xff\xfe", "folder"])
def test_a_file_that_is_missing_or_no_text_is_told_as_such(tmp_path: Path, make: bytes | str | None) -> None:
    path = tmp_path / "energy-ledger.toml"
    if make == "folder":
        path.mkdir()
    elif isinstance(make, bytes):
        path.write_bytes(make)
    with pytest.raises(SettingsInvalid) as told:
        read_toml(path, {})
    assert told.value.where == str(path)


def test_a_device_needs_nothing_of_the_store_and_is_told_of_a_misspelt_table(tmp_path: Path) -> None:
    bus = '[nats]\nurl = "nats://bus:4222"\n'
    path = write(tmp_path, f"{SMALLEST}{bus}[writer]\nqqq = 1\n[[gateways]]\nid = 1\n")
    assert device_settings(read_toml(path, {}), path).nats.url == "nats://bus:4222"
    path = write(tmp_path, SMALLEST + bus.replace("nats]", "nat]"))
    with pytest.raises(SettingsInvalid) as told:
        device_settings(read_toml(path, {}), path)
    assert told.value.hint.startswith("did you mean `nats`?")


# --- how embedded servers are found ------------------------------------------------------------------


def test_a_key_of_an_earlier_version_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "energy-ledger.toml"
    path.write_text('[nats]\nurl = "nats://x"\ntoken_file = "token"\n')
    with pytest.raises(SettingsInvalid, match="token_file means nothing any more") as failed:
        read_toml(path, {})
    assert failed.value.hint.startswith("take the line out")


RUNS = Running(pid=1, postgres=PostgresSettings(url="postgresql:///x"), nats=BusSettings(url="nats://y"))


def test_servers_that_run_embedded_are_found_by_other_commands(tmp_path: Path) -> None:
    path = write(tmp_path, SMALLEST)
    (tmp_path / "data").mkdir()
    assert RUNS.write(tmp_path / "data") == tmp_path / "data" / RUNNING
    settings = load_settings(path, {})
    assert (settings.postgres, settings.nats) == (RUNS.postgres, RUNS.nats)


def test_servers_that_are_named_are_used_and_embedded_ones_are_not_looked_for(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, SMALLEST + SERVERS), {})
    assert settings.postgres.url == "postgresql://db/ledger"
    assert not settings.is_embedded


def test_embedded_servers_that_do_not_run_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as told:
        load_settings(write(tmp_path, SMALLEST), {})
    assert "energy-ledger up" in told.value.hint


@pytest.mark.parametrize("content", [b"", b'{"pid":1', b'{"pid":"x"}', b"[]"])
def test_word_of_servers_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    settings = read(tmp_path, SMALLEST)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / RUNNING).write_bytes(content)
    with pytest.raises(NotRunning):
        with_servers(settings)


def test_a_password_is_named_by_file_and_never_written_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    settings = read(tmp_path, SMALLEST + '[postgres]\npassword_file = "password"\n')
    assert settings.postgres.password() == "secret"
    assert "secret" not in repr(settings)
    assert PostgresSettings().password() is None
