"""What a simulated meter has counted at an instant: from profiles, or from a table of registers.

All sums are integers in micro-watt-seconds, so nothing is lost between one interval and the next,
and the register at any instant is the same whether or not it was read before.
"""

import csv
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

from ledger.clock import parse_rfc3339
from ledger.errors import BadInput

MICRO_DIGITS = 6
MICRO = 10**MICRO_DIGITS
MICRO_WS_PER_WH = 3600 * MICRO
SECOND = timedelta(seconds=1)


class ProfileInvalid(BadInput):
    """A file of profiles or registers cannot be used. `where` names the file and the line."""

    code = "profile-invalid"


class Registers(NamedTuple):
    """What the meter has counted, and the power it shows (positive while importing)."""

    import_wh: int
    export_wh: int
    power_w: int


class RegisterSource(Protocol):
    """The life of a simulated meter."""

    def registers_at(self, instant: datetime) -> Registers:
        """The registers at `instant`; they never fall as `instant` rises."""


class Profiles:
    """A CSV file of per-unit profiles in equal steps: a `local_time` column and one for each profile.

    A row holds the mean over the step that begins at its time.
    """

    def __init__(
        self, path: Path, starts: datetime, step_s: int, columns: Mapping[str, Sequence[int]]
    ) -> None:
        self.path = path
        self.starts_local = starts
        self.step_s = step_s
        self._columns = columns

    @classmethod
    def read(cls, path: Path) -> "Profiles":
        """The profiles in `path`, in micro-units.

        Raises:
            ProfileInvalid: no `local_time`, unequal steps, or a value with more than six decimals.
        """
        times: list[datetime] = []
        columns: dict[str, list[int]] = {}
        for line, row in _rows(path, "local_time"):
            where = f"{path}: line {line}"
            times.append(_local_time(row.pop("local_time"), where))
            for name, text in row.items():
                columns.setdefault(name, []).append(_micro(text, where))
        steps = {later - earlier for earlier, later in pairwise(times)}
        if len(steps) != 1 or (step := steps.pop()) < SECOND or step % SECOND:
            raise ProfileInvalid(
                "the rows are not in equal steps of whole seconds", where=f"{path}: local_time"
            )
        return cls(path, times[0], step // SECOND, columns)

    def column(self, name: str) -> Sequence[int]:
        """The profile of that name in micro-units.

        Raises:
            ProfileInvalid: there is none.
        """
        try:
            return self._columns[name]
        except KeyError:
            raise ProfileInvalid(
                f"there is no profile {name!r}",
                where=str(self.path),
                hint=f"profiles: {', '.join(self._columns)}",
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._columns)


class ProfileSource:
    """A building: a load profile times its peak power minus a PV profile times its rated power.

    What is left over in a step is imported or exported, never both. The profiles begin at `starts`
    and repeat for ever; before `starts` nothing was counted.
    """

    def __init__(
        self,
        profiles: Profiles,
        *,
        starts: datetime,
        load: str | None = None,
        peak_w: int = 0,
        pv: str | None = None,
        pv_w: int = 0,
    ) -> None:
        loads = profiles.column(load) if load else None
        suns = profiles.column(pv) if pv else None
        rows = len(loads or suns or profiles.column(profiles.names[0]))
        self._net_microw = [
            (loads[row] * peak_w if loads else 0) - (suns[row] * pv_w if suns else 0) for row in range(rows)
        ]
        self._step_s = profiles.step_s
        self._starts = starts
        step_s = self._step_s
        self._import = list(accumulate((max(net, 0) * step_s for net in self._net_microw), initial=0))
        self._export = list(accumulate((max(-net, 0) * step_s for net in self._net_microw), initial=0))

    def registers_at(self, instant: datetime) -> Registers:
        elapsed_s = (instant - self._starts) // SECOND
        if elapsed_s < 0:
            return Registers(0, 0, 0)
        steps, within_s = divmod(elapsed_s, self._step_s)
        rounds, row = divmod(steps, len(self._net_microw))
        net = self._net_microw[row]
        import_microws = rounds * self._import[-1] + self._import[row] + max(net, 0) * within_s
        export_microws = rounds * self._export[-1] + self._export[row] + max(-net, 0) * within_s
        return Registers(import_microws // MICRO_WS_PER_WH, export_microws // MICRO_WS_PER_WH, net // MICRO)


class RegisterTable:
    """A CSV file of cumulative registers: `time` (RFC 3339, UTC), `import_wh`, `export_wh`.

    Between two rows energy flows evenly; after the last one nothing flows.
    """

    def __init__(self, times: Sequence[datetime], rows: Sequence[tuple[int, int]]) -> None:
        self._times = times
        self._rows = rows

    @classmethod
    def read(cls, path: Path) -> "RegisterTable":
        """The registers in `path`.

        Raises:
            ProfileInvalid: a column is missing, a value is no integer, or a row is not later or
                shows less than the one before.
        """
        times: list[datetime] = []
        rows: list[tuple[int, int]] = []
        for line, row in _rows(path, "time", "import_wh", "export_wh"):
            where = f"{path}: line {line}"
            try:
                times.append(parse_rfc3339(row["time"]))
                rows.append((int(row["import_wh"]), int(row["export_wh"])))
            except ValueError as error:
                raise ProfileInvalid(str(error), where=where) from None
            if len(rows) > 1 and not (
                times[-2] < times[-1] and rows[-2][0] <= rows[-1][0] and rows[-2][1] <= rows[-1][1]
            ):
                raise ProfileInvalid("time or a register does not go forward", where=where)
        return cls(times, rows)

    def registers_at(self, instant: datetime) -> Registers:
        place = bisect_right(self._times, instant)
        if place == 0 or place == len(self._times):
            return Registers(*self._rows[max(place - 1, 0)], 0)
        span_s = (self._times[place] - self._times[place - 1]) // SECOND
        elapsed_s = (instant - self._times[place - 1]) // SECOND
        import_wh, export_wh = self._rows[place - 1]
        import_step = self._rows[place][0] - import_wh
        export_step = self._rows[place][1] - export_wh
        return Registers(
            import_wh + import_step * elapsed_s // span_s,
            export_wh + export_step * elapsed_s // span_s,
            (import_step - export_step) * 3600 // span_s,
        )


def starts_at(profiles: Profiles, zone: tzinfo) -> datetime:
    """The instant of the first row, its local time being that of `zone`."""
    return profiles.starts_local.replace(tzinfo=zone)


def _rows(path: Path, *needed: str) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            missing = sorted(set(needed) - set(reader.fieldnames or ()))
            if missing:
                raise ProfileInvalid(f"there is no column {missing[0]!r}", where=f"{path}: line 1")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileInvalid(f"cannot be read: {error}", where=str(path)) from error
    for line, row in rows:
        if None in row or None in row.values():
            raise ProfileInvalid("a row is longer or shorter than the first", where=f"{path}: line {line}")
    if len(rows) < 2:
        raise ProfileInvalid("there are fewer than two rows", where=str(path))
    return rows


def _local_time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ProfileInvalid(str(error), where=where) from None
    if time.tzinfo is not None:
        raise ProfileInvalid(f"{text} is not a local time: it names a zone", where=where)
    return time


def _micro(text: str, where: str) -> int:
    """A decimal such as 0.2639 in millionths, exactly."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, decimals = digits.partition(".")
    if not (whole + decimals).isdecimal() or len(decimals) > MICRO_DIGITS:
        raise ProfileInvalid(f"{text!r} is not a decimal of at most six places", where=where)
    return sign * int(whole + decimals.ljust(MICRO_DIGITS, "0"))
