"""`settle_month`, `clear_interval`: the pure part of settlement, journal included."""

import random

from settlement.clearing import Bid, clear
from settlement.interval import Rules, settle
from settlement.market import Band, Routes, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.offers import Metered, Order
from tests.benchmarks.rows import Row, row, timed

BUILDINGS, DAYS, QUARTERS = 180, 30, 96
FEEDERS = 5
ORDERS = 100_000
BAND = Band(4_346_200, 2_200_000)


def _metered(draw: random.Random) -> list[Metered]:
    """An interval in which a good half of the buildings take and the others give."""
    found = []
    for number in range(BUILDINGS):
        net = draw.randint(-20_000_000, 30_000_000)
        found.append(Metered(f"b-{number:03}", max(net, 0), max(-net, 0)))
    return found


def _orders(draw: random.Random) -> dict[str, list[Order]]:
    """Every third building says at what price it trades."""
    limits = {f"b-{number:03}": draw.randint(*BAND[::-1]) for number in range(0, BUILDINGS, 3)}
    return {name: [Order("sell", None, limit), Order("buy", None, limit)] for name, limit in limits.items()}


def _settle_month(mechanism: str, routes: Routes, orders: dict[str, list[Order]]) -> float:
    """Seconds for a month, its postings made and summed; 97 different intervals take turns."""
    draw = random.Random(7)
    intervals = [_metered(draw) for _ in range(97)]
    rules = Rules(mechanism, Parameters(), routes, lambda building: f"f-{int(building[2:]) % FEEDERS}")
    energy = money = 0
    with timed() as watch:
        for number in range(DAYS * QUARTERS):
            settled = settle(rules, BAND, intervals[number % 97], orders)
            for posting in settled.journal():
                energy += posting.energy_milliwh
                money += posting.amount_micro
    assert energy == money == 0
    return watch.seconds


def _clear_interval() -> tuple[float, float]:
    """Seconds to clear 100,000 orders, and to sort the same."""
    draw = random.Random(7)
    bids = [Bid("f", draw.randint(1, 10_000_000), draw.randint(2_200_000, 4_346_200)) for _ in range(ORDERS)]
    sells, buys = bids[: ORDERS // 2], bids[ORDERS // 2 :]
    with timed() as clearing:
        cleared = clear(sells, buys, {})
    assert sum(cleared.sold) == sum(cleared.bought) > 0
    with timed() as sorting:
        sorted(bids, key=lambda bid: bid.limit_micro_per_kwh)
    return clearing.seconds, sorting.seconds


async def rows() -> list[Row]:
    """The rows of this file."""
    draw = random.Random(7)
    pairs = [(f"f-{a}", f"f-{b}") for a in range(FEEDERS) for b in range(FEEDERS) if a != b]
    routes = Routes({pair: Wheeling(draw.randint(50_000, 400_000), 10_000) for pair in pairs})
    found = [
        row(
            "settle_month", _settle_month("mid_market_rate", Routes(), {}), "s", target="<= 5 s",
            what=f"{BUILDINGS} buildings x {DAYS} days, mid-market rate",
        )
    ]  # fmt: skip
    for mechanism in sorted(set(MECHANISMS) - {"mid_market_rate"}):
        seconds = _settle_month(mechanism, Routes(), _orders(draw))
        found.append(row(f"settle_month {mechanism}", seconds, "s", target="", what="every third ordered"))
    seconds = _settle_month("uniform_price", routes, _orders(draw))
    found.append(row("settle_month wheeling", seconds, "s", target="", what="uniform price, 5 feeders"))
    clearing, sorting = min(_clear_interval() for _ in range(3))
    found.append(
        row(
            "clear_interval", clearing, "s", sorting, target="<= 0.2 s",
            what=f"sort of the same {ORDERS:,} orders",
        )
    )  # fmt: skip
    return found
