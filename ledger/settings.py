"""The settings of an installation: one TOML file, partly overridden by the environment, read once.

Each package owns its tables of the file: here are those of the book. Secrets are named by file only.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import available_timezones

import msgspec

from ledger.bus import BusSettings
from ledger.errors import BadInput, Unavailable
from ledger.event import Name, Text
from ledger.grid import Grid, UnknownZone
from ledger.misfit import misfit
from ledger.postgres.connection import PostgresSettings
from ledger.toml_file import parse_text, read_text
from ledger.witness_settings import LogSettings, misfit_of
from ledger.words import did_you_mean
from ledger.writer import WriterSettings

ENVIRONMENT: dict[str, tuple[str, str]] = {
    "ENERGY_LEDGER_DATA": ("data", "folder"),
    "ENERGY_LEDGER_KEYS": ("data", "keys"),
    "ENERGY_LEDGER_POSTGRES_URL": ("postgres", "url"),
    "ENERGY_LEDGER_POSTGRES_PASSWORD_FILE": ("postgres", "password_file"),
    "ENERGY_LEDGER_NATS_URL": ("nats", "url"),
    "ENERGY_LEDGER_NATS_MONITOR_URL": ("nats", "monitor_url"),
    "ENERGY_LEDGER_NATS_USERS_FILE": ("nats", "users_file"),
    "ENERGY_LEDGER_NATS_NKEY_SEED_FILE": ("nats", "nkey_seed_file"),
}
"""Variables that override a key of the file: (table, key)."""

TOML_HINT = "text stands in quotes, numbers do not, and every [header] and key stands once"

DROPPED = {("nats", "token_file"): "take the line out: no token opens NATS, everybody has a key of their own"}
"""Keys of earlier versions, and what to do about them."""

DEVICE_TABLES = ("community", "data", "nats")
FOREIGN_TABLES = ("gateways", "market", "billing", "api")
"""Tables of the settings file that other packages own."""

RUNNING = "running.json"
"""In the data folder while an embedded installation runs: how other commands reach its servers."""

T = TypeVar("T")

Id = Annotated[
    Name, msgspec.Meta(description="a name is 1 to 64 of these: [a-z0-9._-], no capitals, no spaces")
]
"""What feeders, buildings, gateways and meters are called in the book."""


class SettingsInvalid(BadInput):
    """The settings file is missing, unreadable or holds a value that does not fit."""

    code = "settings-invalid"


class NotRunning(Unavailable):
    """The settings name no servers, and no embedded ones run in the data folder."""

    code = "not-running"


class CommunitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which community this is, and what its book is opened with."""

    id: Id
    name: Text = ""
    zone: Text = "Asia/Bangkok"
    interval_minutes: Literal[5, 10, 15, 30, 60] = 15
    currency: Annotated[
        str,
        msgspec.Meta(pattern=r"^[A-Z]{3}\Z", description="three capitals of ISO 4217, such as THB or EUR"),
    ] = "THB"
    origin: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\s+]*\Z",
            max_length=200,
            description="like a URL without its scheme, no spaces, no +",
        ),
    ] = ""
    """Of the log, like a URL without its scheme; default ledger.local/<id>."""


PathText = Annotated[
    str,
    msgspec.Meta(pattern=r"^[^\x00]*\Z", extra_json_schema={"description": "a path, without a zero byte"}),
]


class DataSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where this installation keeps its files."""

    folder: str = "data"
    keys: str = ""  # default <folder>/keys


class FeederSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feeder of the private grid."""

    id: Id
    name: Text = ""


class BuildingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A building and its feeder."""

    id: Id
    feeder: Id
    name: Text = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of the book."""

    community: CommunitySettings
    data: DataSettings = DataSettings()
    postgres: PostgresSettings = PostgresSettings()
    nats: BusSettings = BusSettings()
    writer: WriterSettings = WriterSettings()
    log: LogSettings = LogSettings()
    feeders: list[FeederSettings] = []
    buildings: list[BuildingSettings] = []

    @property
    def data_folder(self) -> Path:
        """Where the embedded servers and the outboxes live."""
        return Path(self.data.folder)

    @property
    def keys_folder(self) -> Path:
        """Where private keys live, readable by their owner alone."""
        return Path(self.data.keys) if self.data.keys else self.data_folder / "keys"

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.community.origin or f"ledger.local/{self.community.id}"

    @property
    def is_embedded(self) -> bool:
        """Whether the installation starts its own servers."""
        return not self.postgres.url and not self.nats.url


def read_toml(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The tables of the file with what the environment overrides. Raises `SettingsInvalid`.

    Relative paths in `data` and of secrets' files are taken from the file's own folder.
    """
    try:
        text = read_text(path, SettingsInvalid)
    except SettingsInvalid as error:
        if isinstance(error.__cause__, FileNotFoundError):
            error.what, error.hint = (
                "there is no settings file",
                "`energy-ledger init` writes one to start from",
            )
        raise
    tables = parse_text(text, str(path), SettingsInvalid, TOML_HINT)
    for (table, key), hint in DROPPED.items():
        if isinstance(tables.get(table), dict) and key in tables[table]:
            raise SettingsInvalid(f"{table}.{key} means nothing any more", where=str(path), hint=hint)
    for table, key in (
        ("data", "folder"), ("data", "keys"), ("postgres", "password_file"), ("nats", "users_file"),
        ("nats", "nkey_seed_file"), ("nats", "ca_file"),
    ):  # fmt: skip
        if isinstance(tables.get(table), dict) and isinstance(value := tables[table].get(key), str) and value:
            tables[table][key] = str(path.parent.absolute() / value)
    _table(tables, "data").setdefault("folder", str(path.parent.absolute() / "data"))
    for variable, (table, key) in ENVIRONMENT.items():
        if value := environment.get(variable):
            _table(tables, table)[key] = value
    return tables


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    """The table `name`, made where it is missing. What is no table stays as it is, for `convert` to tell."""
    found = tables.setdefault(name, {})
    return found if isinstance(found, dict) else {}


def convert(tables: Mapping[str, Any], kind: type[T], path: Path, others: Iterable[str] = ()) -> T:
    """The tables as the struct `kind`; `others` are tables that other packages own.

    Raises `SettingsInvalid`, naming table and key and what may stand there.
    """
    foreign = set(others)
    own = {key: value for key, value in tables.items() if key not in foreign}
    try:
        return msgspec.convert(own, kind)
    except msgspec.ValidationError as error:
        what, place, hint = misfit(error, kind, foreign, own)
        raise SettingsInvalid(what, where=f"{path}: {place}" if place else str(path), hint=hint) from error


def settings_from(tables: Mapping[str, Any], path: Path, others: Iterable[str] = ()) -> Settings:
    """The book's part of the tables; `others` are the tables that other packages own.

    Raises `SettingsInvalid`.
    """
    settings = convert(tables, Settings, path, others)
    _check_zone(settings.community, path)
    _check_origin(settings.community, path)
    if wrong := misfit_of(settings.log):
        raise SettingsInvalid(wrong[0], where=f"{path}: {wrong[1]}")
    _check_unique([feeder.id for feeder in settings.feeders], "feeders", path)
    _check_unique([building.id for building in settings.buildings], "buildings", path)
    feeders = {feeder.id for feeder in settings.feeders}
    for building in settings.buildings:
        if building.feeder not in feeders:
            raise SettingsInvalid(
                f"building {building.id} hangs on feeder {building.feeder}, which is not listed",
                where=f"{path}: buildings",
                hint=f"feeders: {', '.join(sorted(feeders)) or 'none'}",
            )
    if bool(settings.postgres.url) != bool(settings.nats.url):
        raise SettingsInvalid(
            "either both postgres.url and nats.url are given or neither",
            where=str(path),
            hint="leave both out to use the embedded servers",
        )
    return settings


def _check_zone(community: CommunitySettings, path: Path) -> None:
    """A book is opened with its zone for ever: a slip of the pen must not get into it."""
    try:
        Grid(community.interval_minutes, community.zone)
    except UnknownZone as error:
        hint = f"{did_you_mean(community.zone, available_timezones())}{error.hint}"
        raise SettingsInvalid(error.what, where=f"{path}: community.zone", hint=hint) from error


def _check_origin(community: CommunitySettings, path: Path) -> None:
    """C2SP tlog-checkpoint: an origin is a schema-less URL. It is in every checkpoint, and never changes."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9.-]*://", community.origin)
    if scheme:
        raise SettingsInvalid(
            f"the log's name begins with {scheme[0]}",
            where=f"{path}: community.origin",
            hint=f'it is written without: origin = "{community.origin.removeprefix(scheme[0])}"',
        )


def _check_unique(names: list[str], table: str, path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsInvalid(f"{twice[0]} is listed twice", where=f"{path}: {table}")


class Running(msgspec.Struct, frozen=True):
    """How to reach the servers of an embedded installation while it runs."""

    pid: int
    postgres: PostgresSettings
    nats: BusSettings

    def write(self, data_folder: Path) -> Path:
        """Leave word in the data folder; returns the file, which is removed when the servers stop."""
        path = data_folder / RUNNING
        draft = path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self))
        return draft.replace(path)  # whole or not at all, for whoever reads it just now


def with_servers(settings: Settings) -> Settings:
    """The settings with the addresses of the servers, also when they are embedded and run elsewhere.

    Raises `NotRunning`.
    """
    if not settings.is_embedded:
        return settings
    path = settings.data_folder / RUNNING
    try:
        running = msgspec.json.decode(path.read_bytes(), type=Running)
    except FileNotFoundError as error:
        raise NotRunning(
            "the embedded servers do not run",
            where=str(settings.data_folder),
            hint="start `energy-ledger up`, which they live in, or name servers under [postgres] and [nats]",
        ) from error
    except msgspec.DecodeError as error:
        raise NotRunning(
            "what the embedded servers left cannot be read",
            where=str(path),
            hint="start `energy-ledger up`, which writes it anew",
        ) from error
    if not _is_alive(running.pid):
        raise NotRunning(
            "the embedded servers ended without a word",
            where=str(settings.data_folder),
            hint="start `energy-ledger up` again: it goes on with the same book",
        )
    return msgspec.structs.replace(settings, postgres=running.postgres, nats=running.nats)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def device_settings(tables: Mapping[str, Any], path: Path) -> Settings:
    """What a device must know: `[community]`, `[data]` and `[nats]`, and nothing of the store.

    Raises `SettingsInvalid`, `NotRunning`.
    """
    of_the_store = set(Settings.__struct_fields__) - set(DEVICE_TABLES)
    mine = {key: value for key, value in tables.items() if key not in of_the_store}
    return with_servers(convert(mine, Settings, path, FOREIGN_TABLES))


def load_settings(path: Path, environment: Mapping[str, str], others: Iterable[str] = ()) -> Settings:
    """The settings of the book in `path`, with reachable servers. Raises `SettingsInvalid`, `NotRunning`."""
    return with_servers(settings_from(read_toml(path, environment), path, others))
