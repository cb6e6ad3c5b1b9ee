"""The tables of the settings file that belong to gateways: which lines they poll, which meters are there.

[[gateways]]
id = "gw-1"
key_file = "gw-1.pem"                   # from the file's folder; default <keys folder>/<id>.pem
models = "models"                       # optional: a folder with further meter models
remote = true                           # it runs elsewhere, with a key that was enrolled by request

[[gateways.lines]]
host = "10.0.0.5"
port = 502
framer = "rtu"                          # "tcp" (default), or "rtu" for a converter that passes RS485 through
pause_ms = 75
timeout_ms = 1000

[[gateways.lines.meters]]
id = "m-school"
unit = 1
model = "sdm630"
building = "school"                     # none for the main meter
role = "connection"                     # "connection" (default), "sub" or "main"
rated_w = 100_000
factors = { ct = 40, pt = 1 }           # transformer ratios, where the installation knows them

A device that signs what it measures itself, by Wi-Fi or NB-IoT, is one of them that runs elsewhere: its
meters have no line, as nobody asks them.

[[gateways]]
id = "wifi-1"                           # the name that it is enrolled under
remote = true

[[gateways.meters]]
id = "m-wifi"
model = "acme-wifi-3"                   # as its maker calls it
building = "school"
rated_w = 20_000
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.meter_model import MeterModel, MeterModelUnknown, find_model, load_models
from ingest.modbus import LineSettings, MeterOnLine
from ledger.errors import BadInput
from ledger.event import Positive, Text
from ledger.registry import OPERATOR, SERVICE
from ledger.settings import Id, SettingsInvalid, convert


class OwnMeter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A meter, and what it stands for: all that is said of one whose device signs what it measures itself."""

    id: Id
    model: Text
    rated_w: Positive
    role: Literal["connection", "main", "sub"] = "connection"
    building: Id | None = None


class MeterSettings(OwnMeter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A meter on a line: what it is asked as as well."""

    unit: Annotated[int, Meta(ge=0, le=255)]
    factors: dict[str, int] = msgspec.field(default_factory=dict)


class GatewayLine(LineSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line and the meters on it."""

    meters: Annotated[tuple[MeterSettings, ...], Meta(min_length=1)]

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.host}:{self.port}"


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True, rename={"own": "meters"}):
    """A gateway, or a device that signs what its `own` meters measure. Paths are absolute, or empty for the
    default."""

    id: Id
    lines: tuple[GatewayLine, ...] = ()
    own: tuple[OwnMeter, ...] = ()
    remote: bool = False
    key_file: str = ""
    models: str = ""

    @property
    def meters(self) -> tuple[OwnMeter, ...]:
        """All meters of all lines, and its own."""
        return (*(meter for line in self.lines for meter in line.meters), *self.own)

    def known_models(self) -> Mapping[str, MeterModel]:
        """The meter models that this gateway knows. Raises `MeterModelInvalid`."""
        return load_models(Path(self.models) if self.models else None)

    def on_line(self, meter: MeterSettings, models: Mapping[str, MeterModel]) -> MeterOnLine:
        """How `meter` is asked. Raises `MeterModelUnknown` or `BadInput`."""
        return MeterOnLine(meter.unit, find_model(models, meter.model), meter.factors)


class _Gateways(Struct, frozen=True):
    gateways: tuple[GatewaySettings, ...] = ()


def gateways_from(tables: Mapping[str, Any], path: Path) -> tuple[GatewaySettings, ...]:
    """The gateways in the tables of the settings file at `path`, checked for what cannot be meant.

    Raises `SettingsInvalid`, naming the table, the key and what is allowed, or `MeterModelInvalid`.
    """
    found = convert(tables, _Gateways, path).gateways
    gateways = tuple(_with_paths(gateway, path.parent.absolute()) for gateway in found)
    for gateway in gateways:
        _check_meters(gateway, f"{path}: gateways {gateway.id}")
        models = gateway.known_models()
        for line in gateway.lines:
            _check_host(line.host, f"{path}: gateways {gateway.id}, lines")
            where = f"{path}: gateways {gateway.id}, lines {line.name}, meters"
            _check_unique((str(meter.unit) for meter in line.meters), "unit", where)
            for meter in line.meters:
                _check_model(gateway, meter, models, where)
    _check_unique((gateway.id for gateway in gateways), "id", f"{path}: gateways")
    _check_free((gateway.id for gateway in gateways), f"{path}: gateways")
    meters = [meter.id for gateway in gateways for meter in gateway.meters]
    _check_unique(meters, "id", f"{path}: meters of gateways")
    # Most converters serve one connection, and a second master on RS485 garbles both.
    lines = [line.name for gateway in gateways for line in gateway.lines]
    _check_unique(lines, "host and port", f"{path}: gateways.lines")
    return gateways


def find_gateway(gateways: Iterable[GatewaySettings], name: str | None) -> GatewaySettings:
    """The gateway of that id; without a name, the only one there is. Raises `SettingsInvalid`."""
    by_id = {gateway.id: gateway for gateway in gateways}
    known = ", ".join(sorted(by_id)) or "none"
    if name is None and len(by_id) == 1:
        return next(iter(by_id.values()))
    if name is None:
        raise SettingsInvalid(
            f"{len(by_id)} gateways are listed", where="gateways", hint=f"name one of: {known}"
        )
    if name not in by_id:
        raise SettingsInvalid(f"no gateway is called {name}", where="gateways", hint=f"listed: {known}")
    return by_id[name]


def _check_meters(gateway: GatewaySettings, where: str) -> None:
    if not gateway.meters:
        raise SettingsInvalid(
            f"{gateway.id} has no meters",
            where=f"{where}: lines",
            hint="list a line and what is on it under [[gateways.lines]] and [[gateways.lines.meters]]; the"
            " meters of a device that signs for itself under [[gateways.meters]]",
        )
    if gateway.own and not gateway.remote:
        raise SettingsInvalid(
            "a meter without a line is asked by nobody",
            where=f"{where}: meters",
            hint="list it under [[gateways.lines.meters]], or put remote = true if it signs for itself",
        )
    for meter in gateway.meters:
        if (meter.role == "main") != (meter.building is None):
            raise SettingsInvalid(
                f"a meter with role {meter.role} {'has no' if meter.building else 'needs a'} building",
                where=f"{where}, meters {meter.id}: building",
                hint="the main meter is the community's own; every other belongs to a building",
            )


def _check_model(
    gateway: GatewaySettings, meter: MeterSettings, models: Mapping[str, MeterModel], where: str
) -> None:
    place = f"{where} {meter.id}"
    try:
        gateway.on_line(meter, models)
    except MeterModelUnknown as error:
        raise SettingsInvalid(error.what, where=f"{place}: model", hint=error.hint) from error
    except BadInput as error:
        raise SettingsInvalid(error.what, where=f"{place}: factors", hint=error.hint) from error


def _check_host(host: str, where: str) -> None:
    name, colon, port = host.partition(":")
    if not host or (colon and port.isdecimal()):
        raise SettingsInvalid(
            f"{host!r} is not the name or address of a machine",
            where=f"{where}: host",
            hint=f'write host = "{name}" and port = {port}' if port else "name the converter or meter",
        )


def _check_unique(values: Iterable[str], key: str, where: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise SettingsInvalid(
                f"{value} is there twice", where=f"{where}: {key}", hint="each may be used once"
            )
        seen.add(value)


def _check_free(ids: Iterable[str], where: str) -> None:
    for taken in set(ids) & {OPERATOR, SERVICE}:
        raise SettingsInvalid(
            f"{taken} is in the book already, and reads no meters",
            where=f"{where}: id",
            hint="give the gateway another name",
        )


def _with_paths(gateway: GatewaySettings, folder: Path) -> GatewaySettings:
    """The same with absolute paths."""
    return msgspec.structs.replace(
        gateway,
        key_file=str(folder / gateway.key_file) if gateway.key_file else "",
        models=str(folder / gateway.models) if gateway.models else "",
    )
