"""The file of a tariff: what the grid asks for energy, demand and service, dated, with its source.

Amounts stand in it as the regulator writes them, in units of the currency (`4.1839`); from here on they are
whole micro-units. Versions follow one another by local dates. Within a version, *periods* part the week: an
interval belongs to the first period with a window that it starts in, and a period without windows takes what
is left. A period has one price, or *blocks* that the energy of a month fills one after the other.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from ledger.errors import BadInput
from ledger.event import Name
from ledger.misfit import misfit
from ledger.toml_file import parse_text
from ledger.toml_file import read_text as read_file
from settlement.amounts import MICRO, MILLIWH_PER_KWH, PPM
from settlement.toml_place import located

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Clock = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z|^24:00\Z",
        extra_json_schema={"description": "such as 09:00"},
    ),
]
AMOUNT_MAX = 10**9
_EXPONENT_MAX = 14  # with as many digits, far from where decimals are rounded


class NoPrice(BadInput):
    """A tariff gives an interval no price. What lies before it does not have to wait for it."""

    code = "no-price"


class TariffInvalid(NoPrice):
    """A tariff's file does not make sense."""

    code = "tariff-invalid"


class TariffHole(NoPrice):
    """A tariff does not say what holds on a day."""

    code = "tariff-hole"


class NoSinglePrice(NoPrice):
    """A tariff's price of a kilowatt-hour depends on how many there were."""

    code = "no-single-price"


def micro(amount: Decimal) -> int:
    """An amount of the currency in micro-units. Raises `TariffInvalid` for more than six decimals."""
    return _millionths(amount, "an amount")


def ppm(share: Decimal) -> int:
    """A fraction in parts a million. Raises `TariffInvalid`."""
    return _millionths(share, "a fraction")


def _millionths(value: Decimal, what: str) -> int:
    if not (is_short(value, 6) and 0 <= value <= AMOUNT_MAX):
        raise TariffInvalid(f"{value} is not {what} from 0 up with at most six decimals")
    return int(value * MICRO)


def is_short(value: Decimal, decimals: int) -> bool:
    """Whether it is a number, of a size that somebody may mean, with at most so many decimals."""
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -_EXPONENT_MAX <= exponent <= _EXPONENT_MAX:
        return False
    return len(digits) <= _EXPONENT_MAX and value.scaleb(decimals) % 1 == 0


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A table of the file."""


class Window(_Table, frozen=True, rename={"begin": "from"}):
    """Hours of days; `holidays = false` leaves out those that the calendar names."""

    days: tuple[Day, ...] = DAYS
    begin: Clock = "00:00"
    until: Clock = "24:00"
    holidays: bool = True

    @cached_property
    def minutes(self) -> range:
        """The minutes of the day."""
        return range(_minute(self.begin), _minute(self.until))

    def holds(self, local: datetime, is_holiday: bool) -> bool:
        """Whether an interval that starts at `local` lies in it."""
        return (
            DAYS[local.weekday()] in self.days
            and (self.holidays or not is_holiday)
            and local.hour * 60 + local.minute in self.minutes
        )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Block(_Table, frozen=True):
    """What a kilowatt-hour costs up to so many in a month; the last block has no end."""

    per_kwh: Decimal
    until_kwh: int | None = None


class Step(NamedTuple):
    """The price of energy up to `until_milliwh` in a month, without end where that is None."""

    until_milliwh: int | None
    micro_per_kwh: int


class Period(_Table, frozen=True):
    """Part of the week, what a kilowatt-hour costs in it and what the month's highest demand in it costs."""

    name: str
    energy_per_kwh: Decimal | None = None
    blocks: tuple[Block, ...] = ()
    demand_per_kw: Decimal = Decimal(0)
    windows: tuple[Window, ...] = ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What energy costs, block by block."""
        if self.energy_per_kwh is not None:
            return (Step(None, micro(self.energy_per_kwh)),)
        return tuple(
            Step(None if block.until_kwh is None else block.until_kwh * MILLIWH_PER_KWH, micro(block.per_kwh))
            for block in self.blocks
        )

    @cached_property
    def energy_micro_per_kwh(self) -> int:
        """The price of energy. Raises `NoSinglePrice`."""
        if len(self.steps) != 1:
            raise NoSinglePrice(
                f"a kilowatt-hour of the period {self.name} costs the more, the more a month has",
                hint="give retail_micro_per_kwh and feed_in_micro_per_kwh instead of the tariff, "
                "for instance of the block in which the buildings end",
            )
        return self.steps[0].micro_per_kwh

    @cached_property
    def demand_micro_per_kw(self) -> int:
        """The price of demand."""
        return micro(self.demand_per_kw)


class Reactive(_Table, frozen=True):
    """What reactive power costs beyond a share of the month's highest active power."""

    free_share: Decimal
    per_kvar: Decimal


class Capacity(_Table, frozen=True):
    """What a contracted kilowatt costs a year, billed by days."""

    name: str
    per_kw_year: Decimal


class Levy(_Table, frozen=True):
    """A tax on all above it, before the VAT; `rate` is a fraction."""

    name: str
    rate: Decimal


class Version(_Table, frozen=True, rename={"begin": "from"}):
    """What holds for local days from `from` on, and before `until`."""

    begin: date
    periods: tuple[Period, ...]
    until: date | None = None
    service_per_month: Decimal = Decimal(0)
    minimum_demand_share: Decimal = Decimal(0)  # of the highest demand charge of twelve months
    reactive: Reactive | None = None
    capacity: tuple[Capacity, ...] = ()
    feed_in_per_kwh: Decimal | None = None  # None: not told
    levies: tuple[Levy, ...] = ()
    vat: Decimal = Decimal(0)

    @cached_property
    def feed_in_micro_per_kwh(self) -> int:
        """What the grid gives for surplus. Raises `TariffHole`."""
        if self.feed_in_per_kwh is None:
            raise TariffHole(
                "the tariff does not say what is given for surplus",
                hint="add feed_in_per_kwh to the tariff's file; in the rules of a what-if, give "
                "retail_micro_per_kwh and feed_in_micro_per_kwh instead of the tariff",
            )
        return micro(self.feed_in_per_kwh)

    @cached_property
    def uses_holidays(self) -> bool:
        """Whether some hours hold on working days alone."""
        return any(not window.holidays for period in self.periods for window in period.windows)


class Surcharge(_Table, frozen=True, rename={"begin": "from"}):
    """An amount a kilowatt-hour from a day on and before another."""

    begin: date
    until: date
    per_kwh: Decimal

    @cached_property
    def micro_per_kwh(self) -> int:
        """The amount; a surcharge may be below zero."""
        return micro(self.per_kwh) if self.per_kwh >= 0 else -micro(-self.per_kwh)


class SurchargeFile(_Table, frozen=True):
    """A surcharge through time that follows another calendar than the tariffs, such as Thailand's Ft."""

    name: str
    source: str
    confirmed: bool
    values: tuple[Surcharge, ...]


class TariffFile(_Table, frozen=True):
    """The file of a tariff; `confirmed` once somebody has held it against the regulator's own text."""

    name: str
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    zone: str
    source: str
    confirmed: bool
    versions: tuple[Version, ...]
    surcharges: tuple[Name, ...] = ()  # files of the folder `surcharges`
    holidays: Name | None = None  # a file of the folder `holidays`
    smallest_coin: Decimal = Decimal("0.01")  # to which a bill is rounded


F = TypeVar("F", bound=msgspec.Struct)


def read_text(path: Path, error_type: type[BadInput] = TariffInvalid) -> str:
    """A file of UTF-8. Raises `error_type`."""
    return read_file(path, error_type)


def parse_tables(text: str, kind: type[F], where: str, error_type: type[BadInput] = TariffInvalid) -> F:
    """What the TOML of `where` says. Raises `error_type`, naming the place and what may stand there."""
    tables = parse_text(text, where, error_type, parse_float=Decimal)
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as error:
        what, place, hint = misfit(error, kind)
        unknown = re.search("unknown field `(.+)`", what)
        found = located(where, text, place, unknown[1] if unknown else "")
        raise error_type(what, where=found, hint=hint) from error


def parse_file(text: str, where: str) -> TariffFile:
    """A tariff as its file tells it. Raises `TariffInvalid`."""
    file = parse_tables(text, TariffFile, where)
    try:
        for problem in _problems(file):
            raise TariffInvalid(problem)
    except TariffInvalid as error:
        error.where = where
        raise
    return file


def parse_surcharge(text: str, where: str) -> SurchargeFile:
    """A surcharge as its file tells it. Raises `TariffInvalid`."""
    file = parse_tables(text, SurchargeFile, where)
    try:
        for value in file.values:
            _ = value.micro_per_kwh
        for problem in _overlaps(file.name, file.values):
            raise TariffInvalid(problem)
    except TariffInvalid as error:
        error.where = where
        raise
    return file


def _problems(file: TariffFile) -> Iterator[str]:
    if not file.versions or not all(version.periods for version in file.versions):
        yield "a tariff needs versions, and each version periods"
    yield from _overlaps("versions", file.versions)
    if any(version.begin.day != 1 for version in file.versions):
        yield "a version begins on the first of a month, because demand is billed by the month"
    if not micro(file.smallest_coin):
        yield "the smallest coin is above zero"
    for version in file.versions:
        names = [period.name for period in version.periods]
        if len(set(names)) < len(names):
            yield f"two periods of the version from {version.begin} have one name"
        for period in version.periods:
            yield from _period_problems(period)
        _check_amounts(version)


def _period_problems(period: Period) -> Iterator[str]:
    if (period.energy_per_kwh is None) == (not period.blocks):
        yield f"the period {period.name} needs energy_per_kwh or blocks, one of them"
    ends = [block.until_kwh for block in period.blocks]
    if ends and ends != [*sorted({end for end in ends if end is not None and end > 0}), None]:
        yield f"the blocks of the period {period.name} rise, and the last one has no end"
    _ = period.steps, period.demand_micro_per_kw
    for window in period.windows:
        if not window.minutes:
            yield f"a window of the period {period.name} from {window.begin} until {window.until} is empty"


def _check_amounts(version: Version) -> None:
    """Return if every amount is one. Raises `TariffInvalid`."""
    amounts = [version.service_per_month, version.feed_in_per_kwh or Decimal(0)]
    amounts += [each.per_kw_year for each in version.capacity]
    if version.reactive is not None:
        amounts += [version.reactive.per_kvar, version.reactive.free_share]
    for amount in amounts:
        micro(amount)
    for share in (version.vat, version.minimum_demand_share):
        if ppm(share) > PPM:
            raise TariffInvalid(f"{share} is more than the whole")
    for levy in version.levies:
        if not (is_short(levy.rate, 12) and 0 <= levy.rate <= 1):
            raise TariffInvalid(f"{levy.name}: {levy.rate} is not from 0 to 1")


class _Dated(Protocol):
    @property
    def begin(self) -> date: ...
    @property
    def until(self) -> date | None: ...


D = TypeVar("D", bound=_Dated)


def on_day(dated: Sequence[D], day: date, what: str) -> D:
    """What holds on a local day. Raises `TariffHole`."""
    for each in dated:
        if each.begin <= day and (each.until is None or day < each.until):
            return each
    raise TariffHole(
        f"{what} does not say what holds on {day}",
        hint="add what holds, with its dates and source, to its file",
    )


def said_until(dated: Sequence[_Dated], day: date) -> date | None:
    """The first day of which nothing is said, as seen from `day`; none where what holds has no end.

    Where nothing is said of `day`, it is the day since when that is so, or `day` if nothing was before.
    """
    found: date | None = max((each.until for each in dated if each.until and each.until <= day), default=day)
    if any(each.begin <= day and (each.until is None or day < each.until) for each in dated):
        found = day
    for each in sorted(dated, key=lambda each: each.begin):
        if found is not None and each.begin <= found and (each.until is None or found < each.until):
            found = each.until
    return found


def _overlaps(what: str, dated: Sequence[_Dated]) -> Iterator[str]:
    for earlier, later in pairwise(dated):
        if earlier.until is None or later.begin < earlier.until:
            yield f"{what}: what begins on {later.begin} overlaps what begins on {earlier.begin}"
    for each in dated:
        if each.until is not None and each.until <= each.begin:
            yield f"{what}: what begins on {each.begin} ends on {each.until}"
