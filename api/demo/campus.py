"""The demo's campus: simulated meters on real Modbus sockets, and what their registers must say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from ingest.meter_model import find_model, load_models
from ingest.modbus import FramerName
from ingest.settings import GatewayLine, GatewaySettings, MeterSettings
from ingest.simulator import (
    Profiles,
    ProfileSource,
    RegisterSource,
    RegisterTable,
    SimulatedLine,
    SimulatedMeter,
    Simulator,
    starts_at,
)
from ledger.clock import Clock
from ledger.market_events import Side

HERE = Path(__file__).parent
SETTINGS = HERE / "campus.toml"
GATEWAY = "gw-campus"
QUARTER = timedelta(minutes=15)
QUARTERS_A_DAY = 96
DAYS_MAX = 30
UNIT = 1


class Life(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A building's meter: its model and the profiles it lives by."""

    id: str
    building: str
    model: str
    resolution_wh: int
    framer: FramerName
    load: str
    peak_w: int
    pv: str
    pv_w: int

    @property
    def rated_w(self) -> int:
        """What the connection can carry: the larger of its need and its sun."""
        return max(self.peak_w, self.pv_w)


class MainLife(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The campus's point of delivery."""

    id: str
    model: str
    resolution_wh: int
    framer: FramerName
    rated_w: int
    losses_percent: int


class StandingOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At what price a building would trade all it has, or all it needs."""

    building: str
    side: Side
    limit_micro_per_kwh: int


class Lives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of lives."""

    meters: tuple[Life, ...]
    main: MainLife
    orders: tuple[StandingOrder, ...]


@dataclass(frozen=True, slots=True)
class Energy:
    """What flowed through a meter, in Wh."""

    import_wh: int
    export_wh: int


class Campus:
    """Five buildings and the point of delivery from `begin` for `days` days, behind a clock of one's own."""

    def __init__(self, days: int) -> None:
        self.days = days
        self.lives = msgspec.toml.decode((HERE / "lives.toml").read_bytes(), type=Lives)
        profiles = Profiles.read(HERE / "simbench-2016-06.csv")
        self.begin = starts_at(profiles, ZoneInfo("Asia/Bangkok")).astimezone(UTC)
        self.end = self.begin + timedelta(days=days)
        self._sources: dict[str, RegisterSource] = {
            life.id: ProfileSource(
                profiles, starts=self.begin, load=life.load, peak_w=life.peak_w, pv=life.pv, pv_w=life.pv_w
            )
            for life in self.lives.meters
        }
        self._sources[self.lives.main.id] = self._main_source([*self._sources.values()])

    @property
    def quarters(self) -> int:
        """How many intervals are lived through."""
        return self.days * QUARTERS_A_DAY

    def instants(self) -> Sequence[datetime]:
        """Every instant at which the meters are read: n + 1 readings make n intervals."""
        return [self.begin + number * QUARTER for number in range(self.quarters + 1)]

    def source(self, meter: str) -> RegisterSource:
        """What the registers of `meter` say at any instant."""
        return self._sources[meter]

    def energy(self, meter: str) -> Energy:
        """What the data says flowed through `meter` in the days of the demo."""
        first, last = (self._sources[meter].registers_at(at) for at in (self.begin, self.end))
        return Energy(last.import_wh - first.import_wh, last.export_wh - first.export_wh)

    def simulator(self, clock: Clock) -> Simulator:
        """Each meter behind a converter of its own, on ports that the system chooses."""
        models = load_models()
        return Simulator(
            [
                SimulatedLine(
                    [SimulatedMeter(UNIT, find_model(models, life.model), self._sources[life.id], clock)],
                    framer=life.framer,
                )
                for life in self._all()
            ]
        )

    def gateway(self, simulator: Simulator) -> GatewaySettings:
        """The gateway that reads all of them; without the pauses that real converters need."""
        *buildings, point = simulator.lines
        meters = [
            (line, _meter(life, "connection", life.rated_w, life.building))
            for life, line in zip(self.lives.meters, buildings, strict=True)
        ]
        main = self.lives.main
        meters.append((point, _meter(main, "main", main.rated_w, None)))
        lines = [
            GatewayLine(host=line.host, port=line.port, framer=line.framer, pause_ms=0, meters=(meter,))
            for line, meter in meters
        ]
        return GatewaySettings(id=GATEWAY, lines=tuple(lines))

    def _all(self) -> tuple[Life | MainLife, ...]:
        return (*self.lives.meters, self.lives.main)

    def _main_source(self, buildings: Sequence[RegisterSource]) -> RegisterTable:
        """Per interval the buildings' net energy and its losses: import or export, never both."""
        instants = self.instants()
        totals = [(0, 0)]
        before = [source.registers_at(instants[0]) for source in buildings]
        for instant in instants[1:]:
            after = [source.registers_at(instant) for source in buildings]
            imports = sum(b.import_wh - a.import_wh for a, b in zip(before, after, strict=True))
            exports = sum(b.export_wh - a.export_wh for a, b in zip(before, after, strict=True))
            losses = (imports + exports) * self.lives.main.losses_percent // 100
            net = imports - exports + losses
            totals.append((totals[-1][0] + max(net, 0), totals[-1][1] + max(-net, 0)))
            before = after
        return RegisterTable(instants, totals)


def _meter(
    life: Life | MainLife, role: Literal["connection", "main"], rated_w: int, building: str | None
) -> MeterSettings:
    return MeterSettings(
        id=life.id, unit=UNIT, model=life.model, rated_w=rated_w, role=role, building=building
    )
