"""The doctor's check of the point of delivery: whether the main meter and the buildings' can all be true.

What no building's meter shows is a loss, and the buildings pay for it by what they take. In the cables and
transformers of a campus it is a few hundredths of what flows; even the grid of a whole country, from power
station to socket, seldom loses a tenth. Meters of a permitted class are wrong by a hundredth or two, and a
clock that is off moves energy between intervals, which a day evens out. So where a fifth of a day's energy is
missing, or is there too often, it is no loss: a meter is missing, or one is wrong.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from api.finding import Finding
from ledger.grid import Grid
from ledger.postgres.settlement import SettlementStore
from ledger.settings import Settings
from ledger.settlement_rows import Energy

UNTOLD_MAX = 5
"""What is untold is at most one part in so many of what came in, or went out, in a day."""
ENERGY_MIN_WH = 1_000
"""Less than this tells nothing: registers have steps."""
DAY = timedelta(days=1)
DAYS_BACK = 31
HINT = (
    "usually a building whose meter is not in the registry, or does not answer; else the main meter is that"
    " of another place, or has other current transformers than its settings say (`energy-ledger meter test`)"
    "{billed}"
)
BILLED = "; until then the buildings pay for it, by what they take"

Deliveries = Mapping[datetime, tuple[int, int]]
Energies = Mapping[datetime, Sequence[Energy]]


class Passed(NamedTuple):
    """What came into the campus's wires, by the main meters and from buildings, and what went out of them."""

    came_wh: int = 0
    went_wh: int = 0

    @property
    def untold_wh(self) -> int:
        """What came and did not go by any meter; below zero what went and never came."""
        return self.came_wh - self.went_wh

    @property
    def is_absurd(self) -> bool:
        """Whether that is no loss any more."""
        return abs(self.untold_wh) * UNTOLD_MAX > max(self)


class Seen(NamedTuple):
    """A span's intervals of which main meters and buildings are known, in order."""

    starts: Sequence[datetime]
    each: Sequence[Passed]

    @property
    def whole(self) -> Passed:
        """All together."""
        return Passed(sum(one.came_wh for one in self.each), sum(one.went_wh for one in self.each))

    @property
    def is_absurd(self) -> bool:
        """Whether there is enough to judge by, and it cannot be."""
        return max(self.whole) >= ENERGY_MIN_WH and self.whole.is_absurd

    @property
    def since(self) -> datetime:
        """The first interval that cannot be."""
        pairs = zip(self.starts, self.each, strict=True)
        return next((start for start, one in pairs if one.is_absurd), self.starts[0])


def seen(deliveries: Deliveries, energies: Energies) -> Seen:
    """What meters show in a span."""
    starts = sorted(deliveries.keys() & energies.keys())
    each = []
    for start in starts:
        taken, given = sum(row[1] for row in energies[start]), sum(row[2] for row in energies[start])
        imported, exported = deliveries[start]
        each.append(Passed(imported + given, exported + taken))
    return Seen(starts, each)


async def delivery_findings(settings: Settings, now: datetime, *, is_billed: bool) -> AsyncIterator[Finding]:
    """Whether the last day's energies can be, and since when not. Raises `StoreUnavailable`."""
    community = settings.community.id
    grid = Grid(settings.community.interval_minutes, settings.community.zone)
    until = grid.floor(now)
    async with await SettlementStore.open(settings.postgres) as store, store.transaction(community):
        last = await _seen(store, community, until)
        oldest = last
        for _ in range(DAYS_BACK if last.is_absurd else 0):
            until -= DAY
            earlier = await _seen(store, community, until)
            if not earlier.is_absurd:
                break
            oldest = earlier
    if last.starts:
        yield finding_of(last, oldest.since.astimezone(grid.zone), is_billed=is_billed)


async def _seen(store: SettlementStore, community: str, until: datetime) -> Seen:
    span = (community, until - DAY, until)
    return seen(await store.deliveries(*span), await store.energies(*span))


def finding_of(last: Seen, since: datetime, *, is_billed: bool) -> Finding:
    """What there is to say of the last day; `since` is when what cannot be began, in local time."""
    whole = last.whole
    flowed, untold = max(whole), abs(whole.untold_wh)
    share = f"{100 * untold // flowed if flowed else 0} %"
    energies = f"{_kwh(untold)} of {_kwh(flowed)} kWh in the last day"
    if not last.is_absurd:
        return Finding("delivery", "well", f"main meter and buildings differ by {share}: {energies}")
    what = "no building's meter shows" if whole.untold_wh > 0 else "the main meter does not show"
    return Finding(
        "delivery", "wrong" if is_billed else "odd",
        f"{what} {share} of what flows, since {since:%Y-%m-%d %H:%M}: {energies}",
        HINT.format(billed=BILLED if is_billed and whole.untold_wh > 0 else ""),
    )  # fmt: skip


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh // 1_000:,}.{energy_wh % 1_000:03d}"
