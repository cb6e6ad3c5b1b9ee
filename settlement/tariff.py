"""Tariffs by their names: what the grid asks and gives at an instant.

Their files are in `settlement/tariffs` (`settlement.tariff_file` tells what stands in them), beside the
calendars of holidays and of surcharges, which several tariffs share.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import BadInput
from ledger.words import did_you_mean
from settlement.holidays import NO_HOLIDAYS, Calendar, CalendarHole, parse_calendar
from settlement.market import Band
from settlement.tariff_file import (
    NoSinglePrice,
    Period,
    SurchargeFile,
    TariffFile,
    TariffHole,
    TariffInvalid,
    Version,
    on_day,
    parse_file,
    parse_surcharge,
    read_text,
    said_until,
)

FOLDER = Path(__file__).parent / "tariffs"

__all__ = [
    "FOLDER", "Documents", "NoSinglePrice", "Period", "Tariff", "TariffHole", "TariffInvalid", "Terms",
    "UnknownTariff", "Version", "completed", "first_difference", "load_tariff", "parse_tariff",
    "tariff_documents", "tariff_names",
]  # fmt: skip


class UnknownTariff(BadInput):
    """There is no tariff of this name."""

    code = "unknown-tariff"


class Terms(NamedTuple):
    """What holds in an interval; surcharges are by name, in micro-units a kilowatt-hour."""

    day: date
    version: Version
    period: Period
    surcharges: list[tuple[str, int]]


class Tariff:
    """A tariff by its name. Raises `TariffHole` for days of which it does not say what holds."""

    def __init__(
        self, name: str, file: TariffFile, calendar: Calendar, surcharges: Sequence[SurchargeFile]
    ) -> None:
        self.name = name
        self.file = file
        self.zone = ZoneInfo(file.zone)
        self.calendar = calendar
        self._surcharges = surcharges

    def notes(self, years: Iterable[int]) -> Iterator[str]:
        """What a reader of a bill should know about the data behind it."""
        if not self.file.confirmed:
            yield f"the tariff {self.name} was not yet held against the regulator's text ({self.file.source})"
        for each in self._surcharges:
            if not each.confirmed:
                yield f"{each.name} was not yet held against the announcements ({each.source})"
        for year in sorted(set(years)):
            if self.file.holidays and self.calendar.year(year).provisional:
                yield f"the holidays of {year} are provisional: {self.calendar.year(year).source}"

    def known_until(self, day: date) -> Iterator[tuple[str, date | None]]:
        """For all that changes with time, the first day of which nothing is said of it, as seen from `day`;
        none: never. It has passed where the tariff tells no price for `day`."""
        yield "the tariff", said_until(self.file.versions, day)
        for each in self._surcharges:
            yield each.name, said_until(each.values, day)
        begun = [version for version in self.file.versions if version.begin <= day] or self.file.versions
        if self.file.holidays and begun[-1].uses_holidays:
            yield "holidays", date(self.calendar.known_until(day.year), 1, 1)

    def known(self) -> tuple[date, date | None]:
        """The first day of which all is said, and the next one of which something is not; none: never."""
        begins = [self.file.versions[0].begin, *(each.values[0].begin for each in self._surcharges)]
        if self.file.holidays and any(version.uses_holidays for version in self.file.versions):
            begins.append(date(self.calendar.first_year, 1, 1))
        begin = max(begins)
        ends = [max(end, begin) for _, end in self.known_until(begin) if end is not None]
        return begin, min(ends, default=None)

    def unknown_since(self, day: date) -> date | None:
        """Since what day on something is not said that `day` needs; none where all of it is known."""
        ends = [end for _, end in self.known_until(day) if end is not None and end <= day]
        return min(ends, default=None)

    def version(self, day: date) -> Version:
        """What holds on a local day."""
        return on_day(self.file.versions, day, f"the tariff {self.name}")

    def surcharge_micro_per_kwh(self, day: date) -> list[tuple[str, int]]:
        """The surcharges of a local day, by name."""
        return [
            (each.name, on_day(each.values, day, f"{each.name} of the tariff {self.name}").micro_per_kwh)
            for each in self._surcharges
        ]

    def period(self, at: int) -> Period:
        """The period of the interval that starts at an instant."""
        return self.terms(at).period

    def terms(self, at: int) -> Terms:
        """All that holds in the interval that starts at an instant. Raises `TariffHole`, `CalendarHole`."""
        local = datetime.fromtimestamp(at, self.zone)
        day = local.date()
        version = self.version(day)
        is_holiday = version.uses_holidays and self.calendar.is_holiday(day)
        for period in version.periods:
            if not period.windows or any(window.holds(local, is_holiday) for window in period.windows):
                return Terms(day, version, period, self.surcharge_micro_per_kwh(day))
        raise TariffHole(f"no period of the tariff {self.name} holds at {local:%A, %Y-%m-%d %H:%M}")

    def band(self, at: int) -> Band:
        """What the grid asks and gives for a kilowatt-hour in the interval that starts at an instant.

        Surcharges included, taxes not: whether these can be deducted is each building's own matter. Raises
        `NoSinglePrice` besides.
        """
        terms = self.terms(at)
        retail = terms.period.energy_micro_per_kwh + sum(amount for _, amount in terms.surcharges)
        return Band(max(retail, 0), terms.version.feed_in_micro_per_kwh)


def tariff_names(folder: Path = FOLDER) -> list[str]:
    """The tariffs that there are."""
    return sorted(path.stem for path in folder.glob("*.toml"))


class Documents(NamedTuple):
    """A tariff's file and those that it refers to, as texts: all that a tariff is made of.

    `beside` are `holidays/NAME.toml` and `surcharges/NAME.toml`.
    """

    name: str
    document: str
    beside: Mapping[str, str]


def tariff_documents(name: str, folder: Path = FOLDER) -> Documents:
    """The texts of the tariff of this name, or in the file of this name where it ends with `.toml`.

    What a file refers to is looked for beside it first. Raises `UnknownTariff`, `TariffInvalid`.
    """
    names = tariff_names(folder)
    is_path = name.endswith(".toml")
    path = Path(name) if is_path else folder / f"{name}.toml"
    if not (_is_file(path) if is_path else name in names):
        raise UnknownTariff(
            f"there is no file {name}" if is_path else f"there is no tariff {name!r}",
            hint=f"{did_you_mean(path.stem, names)}known by name: {', '.join(names)}",
        )
    document = read_text(path)
    beside = {}
    for needed in _needed(parse_file(document, str(path))):
        own = path.parent / needed
        beside[needed] = read_text(own if own.is_file() else FOLDER / needed)
    return Documents(path.stem, document, beside)


def completed(name: str, document: str, beside: Mapping[str, str]) -> Documents:
    """A tariff's documents, with ours of the calendars and surcharges that it refers to where `beside` lacks
    them. Raises `TariffInvalid`, also for what it does not refer to."""
    needed = _needed(parse_file(document, f"{name}.toml"))
    if strange := sorted(beside.keys() - set(needed)):
        raise TariffInvalid(f"it does not refer to {strange[0]}", where="beside")
    missing = [each for each in needed if each not in beside and not (FOLDER / each).is_file()]
    if missing:
        raise TariffInvalid(f"{missing[0]} is missing", where="beside", hint="give it with the tariff")
    texts = {each: beside[each] if each in beside else read_text(FOLDER / each) for each in needed}
    return Documents(name, document, texts)


def first_difference(before: Tariff, after: Tariff, begin: date, until: date) -> date | None:
    """The first local day of [begin, until) of which two tariffs do not say the same; none: they agree."""
    days = (begin + timedelta(days=n) for n in range((until - begin).days))
    return next((day for day in days if _said(before, day) != _said(after, day)), None)


def _said(tariff: Tariff, day: date) -> tuple[Version, bool, list[tuple[str, int]]] | None:
    """All that a tariff says of a day; none where it does not."""
    try:
        version = tariff.version(day)
        is_holiday = version.uses_holidays and tariff.calendar.is_holiday(day)
        return version, is_holiday, tariff.surcharge_micro_per_kwh(day)
    except (TariffHole, CalendarHole):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a file's name can be
        return False


def _needed(file: TariffFile) -> list[str]:
    """The files that a tariff refers to."""
    calendars = [f"holidays/{file.holidays}.toml"] if file.holidays else []
    return calendars + [f"surcharges/{each}.toml" for each in file.surcharges]


def parse_tariff(name: str, document: str, beside: Mapping[str, str]) -> Tariff:
    """The tariff that documents tell. Raises `TariffInvalid`, `CalendarInvalid`."""
    where = f"{name}.toml"
    file = parse_file(document, where)
    for needed in _needed(file):
        if needed not in beside:
            raise TariffInvalid(f"{needed} is missing", where=where)
    calendar, surcharges = NO_HOLIDAYS, []
    for needed in _needed(file):
        if needed.startswith("holidays/"):
            calendar = parse_calendar(beside[needed], needed)
        else:
            surcharges.append(parse_surcharge(beside[needed], needed))
    try:
        return Tariff(name, file, calendar, surcharges)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise TariffInvalid(f"there is no time zone {file.zone!r}", where=where) from error


@cache
def load_tariff(name: str, folder: Path = FOLDER) -> Tariff:
    """The tariff of this name, see `tariff_documents`. Raises what that and `parse_tariff` raise."""
    return parse_tariff(*tariff_documents(name, folder))
