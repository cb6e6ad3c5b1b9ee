"""A book of readings with a settlement run a day, as the ledger would have exported it.

The digests of the runs are made up: recomputing them takes the same work, and each is then found.
"""

from datetime import timedelta
from pathlib import Path

from ledger.book_file import FORMAT, Header, HeaderLine, KeyLine, new_book
from ledger.canonical import encode
from ledger.event import Event
from ledger.events import BuildingAdded, FeederAdded, MeterAdded, MeterAssigned, MeterRead
from ledger.key_history import KeyHistory
from ledger.market_events import MarketRulesPublished, SettlementRun, TariffPublished
from ledger.opening import enrolment
from ledger.registry import OPERATOR, SERVICE
from tests.benchmarks.campus import BEGIN, COMMUNITY, GATEWAY, QUARTER
from tests.benchmarks.verify_rows import Maker
from tests.support.trading import FLAT

METERS = 20
DAY = 96


def facts(maker: Maker) -> list[Event]:
    """A gateway, and buildings with a meter each."""
    since = BEGIN - timedelta(days=1)
    events: list[Event] = [
        FeederAdded(feeder="f", name="f"),
        enrolment(COMMUNITY, GATEWAY, "gateway", maker.keys[GATEWAY]),
    ]
    for number in range(METERS):
        meter, building = f"m-{number}", f"b-{number}"
        events.append(BuildingAdded(building=building, feeder="f", name=""))
        events.append(
            MeterAdded(
                meter=meter, role="connection", model="x", rated_w=69_000, since=since, building=building
            )
        )
        events.append(MeterAssigned(meter=meter, device=GATEWAY, since=since))
    return events


def reading(meter: int, at: int) -> bytes:
    """Every third building gives, the others take."""
    taken, given = (0, 900 * at) if meter % 3 == 0 else (400 * at, 0)
    event = MeterRead(
        import_wh=taken, export_wh=given, measured_at=BEGIN + at * QUARTER, quality="measured", salt="A" * 16
    )
    return encode(event)


def write_book(path: Path, days: int) -> None:
    """Some days of readings, a day at a time, and a run each day, whose digests are made up."""
    with new_book(path) as write:
        maker = Maker(write)
        opening, registry = maker.opening(), facts(maker)
        market = [
            TariffPublished(tariff="flat", document=FLAT.replace("2026", "2024")),
            MarketRulesPublished(
                begin=BEGIN, mechanism="uniform_price", tariff="flat", gate_minutes=0, final_days=366
            ),
        ]
        history = KeyHistory()
        for position, event in enumerate([opening, *registry]):
            history.take(position, event)
        size = 1 + len(registry) + len(market) + days * (METERS * DAY + 1)
        head = Header(
            community=COMMUNITY, format=FORMAT, log_key=opening.log_key, scope="community", size=size
        )
        for line in (HeaderLine(head), *map(KeyLine, history.keys)):
            write(line)
        maker.envelope(SERVICE, "registry", [encode(opening)])
        maker.envelope(OPERATOR, "registry", [encode(event) for event in registry])
        maker.envelope(OPERATOR, "market", [encode(event) for event in market])
        for day in range(days):
            begin, until = day * DAY, (day + 1) * DAY
            for meter in range(METERS):
                bodies = [reading(meter, at) for at in range(begin + 1, until + 1)]
                maker.envelope(GATEWAY, f"meter/m-{meter}", bodies)
            maker.envelope(SERVICE, "settlement", [encode(run(maker, day))])
        maker.end()


def run(maker: Maker, day: int) -> SettlementRun:
    """The run of a day."""
    return SettlementRun(
        number=day + 1, kind="provisional", begin=BEGIN + day * DAY * QUARTER,
        until=BEGIN + (day + 1) * DAY * QUARTER, tree_size=maker.tree.size, root=maker.tree.root().hex(),
        rules="0" * 64, result="0" * 64, settled=DAY if day else DAY - 1,
    )  # fmt: skip
