"""An installation with two hours behind it: what was read and ordered is in its book, and nothing is settled.

The clock of those hours is virtual and so can only tick in this process; the commands that come after them
run as processes, on the machine's clock.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from api.installation import load_installation, running
from ingest.meter_model import find_model, load_models
from ingest.simulator import RegisterTable, SimulatedLine, SimulatedMeter, Simulator
from ledger.client import BookClient
from ledger.clock import VirtualClock, rfc3339
from ledger.event import new_salt
from ledger.market_events import OrderPlaced
from ledger.registry import OPERATOR

QUARTER = timedelta(minutes=15)
INTERVALS = 8
SETTINGS = """\
[community]
id = "campus"
zone = "Asia/Bangkok"
origin = "ledger.example/campus"

[market]
mechanism = "uniform_price"
tariff = "flat.toml"
gate_minutes = 30
settle_after_minutes = 0

[[feeders]]
id = "f-1"

[[buildings]]
id = "sun"
feeder = "f-1"
[[buildings]]
id = "house"
feeder = "f-1"

[[gateways]]
id = "gw-1"

[[gateways.lines]]
host = "127.0.0.1"
port = {port}
framer = "rtu"
pause_ms = 0

[[gateways.lines.meters]]
id = "m-sun"
unit = 1
model = "sdm630"
building = "sun"
rated_w = 100_000

[[gateways.lines.meters]]
id = "m-house"
unit = 2
model = "sdm630"
building = "house"
rated_w = 100_000
"""
FLAT = """\
name = "flat"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "a test"
confirmed = true
versions = [{{ from = 2020-01-01, {until} feed_in_per_kwh = 2, periods = [
    {{ name = "all", energy_per_kwh = 4 }},
] }}]
"""
SIMULATION = """\
[[lines]]
port = 0
framer = "rtu"

[[lines.meters]]
unit = 1
model = "sdm630"
registers = "m-sun.csv"

[[lines.meters]]
unit = 2
model = "sdm630"
registers = "m-house.csv"
"""
QUARTERLY_WH = {"m-sun": (0, 2_000), "m-house": (1_000, 0)}
"""What flows through the meters in every quarter: import and export."""


def begin_of(now: datetime) -> datetime:
    """When an installation has begun whose intervals close by now."""
    at = int(now.timestamp())
    return datetime.fromtimestamp(at - at % 900, UTC) - INTERVALS * QUARTER


def write_registers(folder: Path, begin: datetime) -> None:
    """What the simulated meters show, for two days, and the plan of `energy-ledger simulate`."""
    for meter, (import_wh, export_wh) in QUARTERLY_WH.items():
        rows = [f"{rfc3339(begin + days * 96 * QUARTER)},{days * 96 * import_wh},{days * 96 * export_wh}"
                for days in range(3)]  # fmt: skip
        folder.joinpath(f"{meter}.csv").write_text("\n".join(["time,import_wh,export_wh", *rows, ""]))
    folder.joinpath("meters.toml").write_text(SIMULATION)


def write_settings(folder: Path, port: int, *, with_hole: bool = False) -> Path:
    """The settings file, and beside it a tariff that may say nothing of these years."""
    folder.joinpath("flat.toml").write_text(FLAT.format(until="until = 2021-01-01," if with_hole else ""))
    config = folder / "energy-ledger.toml"
    config.write_text(SETTINGS.format(port=port))
    return config


async def live(folder: Path, config: Path, begin: datetime) -> None:
    """Live through the hours from `begin`: an order is placed, the meters are read at every quarter."""
    clock = VirtualClock(begin)
    tables = [RegisterTable.read(folder / f"{meter}.csv") for meter in QUARTERLY_WH]
    model = find_model(load_models(), "sdm630")
    meters = [SimulatedMeter(unit, model, table, clock) for unit, table in enumerate(tables, 1)]
    async with Simulator([SimulatedLine(meters, framer="rtu")]) as simulator:
        wanted = load_installation(config, {})
        (gateway_there,) = wanted.gateways
        (line,) = gateway_there.lines
        line = msgspec.structs.replace(line, port=simulator.lines[0].port)
        here = msgspec.structs.replace(gateway_there, lines=(line,))
        async with running(wanted._replace(gateways=(here,)), clock) as installation:
            keys = installation.keys
            placed = OrderPlaced(
                order="early", side="sell", limit_micro_per_kwh=3_000_000, begin=begin + 2 * QUARTER,
                until=begin + 6 * QUARTER, salt=new_salt(),
            )  # fmt: skip
            async with await installation.connect("operator") as bus:
                client = BookClient(bus, "campus", OPERATOR, keys.operator, keys.service.public)
                await client.open()
                await client.append("building/sun", [placed])
            gateway = installation.gateways["gw-1"]
            for number in range(INTERVALS + 1):
                await clock.sleep_until(begin + number * QUARTER)
                await gateway.poll_once(begin + number * QUARTER)
            await gateway.drained()
