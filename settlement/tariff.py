"""Tariffs: what the grid asks for energy, demand and service, dated, in data files with their source.

A file of `settlement/tariffs` tells one tariff. Its versions follow one another by local dates, and amounts
stand in it as the regulator writes them, in units of the currency (`4.1839`); from here on they are whole
micro-units.

Within a version, *periods* part the week: an interval belongs to the first period with a window that it
starts in, and a period without windows takes what is left. Holidays are dates of a calendar of their own
(`settlement.holidays`): which days count as such is law, not arithmetic.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ledger.errors import BadInput
from ledger.event import Name
from ledger.misfit import misfit
from ledger.words import did_you_mean
from settlement.amounts import MICRO, PPM
from settlement.holidays import NO_HOLIDAYS, Calendar, load_calendar
from settlement.market import Band

FOLDER = Path(__file__).parent / "tariffs"

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Clock = Annotated[
    str,
    msgspec.Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", extra_json_schema={"description": "such as 09:00"}
    ),
]


class TariffInvalid(BadInput):
    """A tariff's file does not make sense."""

    code = "tariff-invalid"


class TariffHole(BadInput):
    """A tariff does not say what holds on a day."""

    code = "tariff-hole"


class UnknownTariff(BadInput):
    """There is no tariff of this name."""

    code = "unknown-tariff"


def micro(amount: Decimal) -> int:
    """An amount of the currency in micro-units. Raises `TariffInvalid` for more than six decimals."""
    if not amount.is_finite() or amount < 0 or amount * MICRO != int(amount * MICRO):
        raise TariffInvalid(f"{amount} is not an amount from 0 up with at most six decimals")
    return int(amount * MICRO)


def ppm(share: Decimal) -> int:
    """A fraction in parts a million. Raises `TariffInvalid`."""
    if not share.is_finite() or share < 0 or share * PPM != int(share * PPM):
        raise TariffInvalid(f"{share} is not a fraction from 0 up with at most six decimals")
    return int(share * PPM)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A table of the file."""


class Window(_Table, frozen=True, rename={"begin": "from"}):
    """Hours of days; `holidays = false` leaves out those that the calendar names."""

    days: tuple[Day, ...] = DAYS
    begin: Clock = "00:00"
    until: Clock = "24:00"
    holidays: bool = True

    @cached_property
    def _minutes(self) -> range:
        return range(_minute(self.begin), _minute(self.until))

    def holds(self, local: datetime, is_holiday: bool) -> bool:
        """Whether an interval that starts at `local` lies in it."""
        return (
            DAYS[local.weekday()] in self.days
            and (self.holidays or not is_holiday)
            and local.hour * 60 + local.minute in self._minutes
        )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Period(_Table, frozen=True):
    """Part of the week, what a kilowatt-hour costs in it and what the month's highest demand in it costs."""

    name: str
    energy_per_kwh: Decimal
    demand_per_kw: Decimal = Decimal(0)
    windows: tuple[Window, ...] = ()

    @cached_property
    def energy_micro_per_kwh(self) -> int:
        """The price of energy."""
        return micro(self.energy_per_kwh)

    @cached_property
    def demand_micro_per_kw(self) -> int:
        """The price of demand."""
        return micro(self.demand_per_kw)


class Reactive(_Table, frozen=True):
    """What reactive power costs beyond a share of the month's highest active power."""

    free_share: Decimal
    per_kvar: Decimal


class Version(_Table, frozen=True, rename={"begin": "from"}):
    """What holds for local days from `from` on, and before `until`."""

    begin: date
    periods: tuple[Period, ...]
    until: date | None = None
    service_per_month: Decimal = Decimal(0)
    minimum_demand_share: Decimal = Decimal(0)  # of the highest demand charge of twelve months
    reactive: Reactive | None = None
    feed_in_per_kwh: Decimal = Decimal(0)
    vat: Decimal = Decimal(0)

    @cached_property
    def feed_in_micro_per_kwh(self) -> int:
        """What the grid gives for surplus."""
        return micro(self.feed_in_per_kwh)


class Surcharge(_Table, frozen=True, rename={"begin": "from"}):
    """An amount a kilowatt-hour that follows another calendar than the tariff, such as Thailand's Ft."""

    begin: date
    until: date
    per_kwh: Decimal

    @cached_property
    def micro_per_kwh(self) -> int:
        """The amount; a surcharge may be below zero."""
        return micro(self.per_kwh) if self.per_kwh >= 0 else -micro(-self.per_kwh)


class Surcharges(_Table, frozen=True):
    """One kind of surcharge through time."""

    name: str
    values: tuple[Surcharge, ...]


class TariffFile(_Table, frozen=True):
    """The file of a tariff; `confirmed` once somebody has held it against the regulator's own text."""

    name: str
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    zone: str
    source: str
    confirmed: bool
    versions: tuple[Version, ...]
    surcharges: tuple[Surcharges, ...] = ()
    holidays: Name | None = None


class _Dated(Protocol):
    @property
    def begin(self) -> date: ...
    @property
    def until(self) -> date | None: ...


D = TypeVar("D", bound=_Dated)


class Tariff:
    """A tariff by its name. Raises `TariffHole` for days of which it does not say what holds."""

    def __init__(self, name: str, file: TariffFile, calendar: Calendar) -> None:
        self.name = name
        self.file = file
        self.zone = ZoneInfo(file.zone)
        self.calendar = calendar

    def notes(self, years: Iterable[int]) -> Iterator[str]:
        """What a reader of a bill should know about the data behind it."""
        if not self.file.confirmed:
            yield f"the tariff {self.name} was not yet held against the regulator's text ({self.file.source})"
        for year in sorted(set(years)):
            if self.file.holidays and self.calendar.year(year).provisional:
                yield f"the holidays of {year} are provisional: {self.calendar.year(year).source}"

    def version(self, day: date) -> Version:
        """What holds on a local day."""
        return _on(self.file.versions, day, f"the tariff {self.name}")

    def surcharge_micro_per_kwh(self, day: date) -> list[tuple[str, int]]:
        """The surcharges of a local day, by name."""
        return [
            (each.name, _on(each.values, day, f"{each.name} of the tariff {self.name}").micro_per_kwh)
            for each in self.file.surcharges
        ]

    def period(self, at: int) -> Period:
        """The period of the interval that starts at an instant."""
        local = datetime.fromtimestamp(at, self.zone)
        version = self.version(local.date())
        uses_holidays = any(not window.holidays for period in version.periods for window in period.windows)
        is_holiday = uses_holidays and self.calendar.is_holiday(local.date())
        for period in version.periods:
            if not period.windows or any(window.holds(local, is_holiday) for window in period.windows):
                return period
        raise TariffHole(
            f"no period of the tariff {self.name} holds at {local:%A %H:%M}", where=str(local.date())
        )

    def band(self, at: int) -> Band:
        """What the grid asks and gives for a kilowatt-hour in the interval that starts at an instant.

        Surcharges included, taxes not: whether these can be deducted is each building's own matter.
        """
        day = datetime.fromtimestamp(at, self.zone).date()
        retail = self.period(at).energy_micro_per_kwh + sum(
            amount for _, amount in self.surcharge_micro_per_kwh(day)
        )
        return Band(max(retail, 0), self.version(day).feed_in_micro_per_kwh)


def _on(versions: Sequence[D], day: date, what: str) -> D:
    for version in versions:
        if version.begin <= day and (version.until is None or day < version.until):
            return version
    raise TariffHole(
        f"{what} does not say what holds on {day}",
        hint="add a version with its dates and source to the tariff's file",
    )


def tariff_names(folder: Path = FOLDER) -> list[str]:
    """The tariffs that there are."""
    return sorted(path.stem for path in folder.glob("*.toml"))


@cache
def load_tariff(name: str, folder: Path = FOLDER) -> Tariff:
    """The tariff of this name. Raises `UnknownTariff`, `TariffInvalid`."""
    names = tariff_names(folder)
    if name not in names:
        raise UnknownTariff(
            f"there is no tariff {name!r}", hint=f"{did_you_mean(name, names)}known: {', '.join(names)}"
        )
    path = folder / f"{name}.toml"
    file = _read(path)
    try:
        for problem in _problems(file):
            raise TariffInvalid(problem)
        calendar = load_calendar(file.holidays, folder / "holidays") if file.holidays else NO_HOLIDAYS
        return Tariff(name, file, calendar)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise TariffInvalid(f"there is no time zone {file.zone!r}", where=str(path)) from error
    except TariffInvalid as error:
        error.where = error.where or str(path)
        raise


def _read(path: Path) -> TariffFile:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(), parse_float=Decimal), TariffFile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TariffInvalid(f"cannot be read: {error}", where=str(path)) from error
    except msgspec.ValidationError as error:
        what, place, hint = misfit(error, TariffFile)
        raise TariffInvalid(what, where=f"{path}: {place}" if place else str(path), hint=hint) from error


def _problems(file: TariffFile) -> Iterator[str]:
    """What the types cannot say."""
    if not file.versions or not all(version.periods for version in file.versions):
        yield "a tariff needs versions, and each version periods"
    yield from _overlaps("versions", file.versions)
    if any(version.begin.day != 1 for version in file.versions):
        yield "a version begins on the first of a month, because demand is billed by the month"
    for surcharges in file.surcharges:
        yield from _overlaps(surcharges.name, surcharges.values)
        for value in surcharges.values:
            _ = value.micro_per_kwh
    for version in file.versions:
        amounts = [version.service_per_month, version.feed_in_per_kwh]
        amounts += [amount for p in version.periods for amount in (p.energy_per_kwh, p.demand_per_kw)]
        for amount in amounts:
            micro(amount)
        for share in (version.vat, version.minimum_demand_share):
            ppm(share)


def _overlaps(what: str, dated: Sequence[_Dated]) -> Iterator[str]:
    for earlier, later in pairwise(dated):
        if earlier.until is None or later.begin < earlier.until:
            yield f"{what}: what begins on {later.begin} overlaps what begins on {earlier.begin}"
    for each in dated:
        if each.until is not None and each.until <= each.begin:
            yield f"{what}: what begins on {each.begin} ends on {each.until}"
