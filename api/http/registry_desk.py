"""Writing to the registry: judged by the book as it stands, then appended by a turn, whole or not at all.

What the settings ask for is brought in by `provision`, by the same functions. Neither side undoes the other.

What was settled is settled again from the instant on that an event tells. So a meter may begin or end earlier
than it did, and later only where that is still to come.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.market_shapes import Change
from api.http.problems import NotThere
from api.http.registry_shapes import (
    EpochShape,
    EpochsShape,
    MeterEnd,
    NewEpoch,
    NewMeter,
    NewRegistry,
    RegistryAnswer,
)
from api.registering import MeterPlace, lacked, meter_parts, place_parts, said_before, told_fields
from ledger.clock import rfc3339
from ledger.errors import BadInput, Contradiction
from ledger.event import Event
from ledger.events import (
    YEAR_MIN,
    AnyEvent,
    BuildingAdded,
    FeederAdded,
    MeterAdded,
    MeterRetired,
    RegisterEpochOpened,
)
from ledger.postgres.health import read_health
from ledger.postgres.inspection import EpochsAround, Inspection
from ledger.postgres.pool import NotReady
from ledger.registry import Meter, Registry
from ledger.words import counted
from settlement.ordering import Words

STREAM = "registry"
PLANNED_MAX = timedelta(days=366)
"""So far ahead a meter can begin or end; what lies further is a slip of the pen."""
AHEAD_MAX = timedelta(days=1)
"""So far ahead another device can read, or registers start anew: neither can be taken back until then."""
PROJECTED_POLL_SECONDS = 0.1
PROJECTED_LOOKS = 30
_TICK = timedelta(seconds=1)


class Made(NamedTuple):
    """An event that the book would take, and what it changes."""

    event: AnyEvent
    change: Change


class Standing(NamedTuple):
    """The registry, which is nobody else's, and what time it is."""

    registry: Registry
    words: Words
    now: datetime

    def instant(self, text: str, where: str, ahead: timedelta = AHEAD_MAX) -> datetime:
        """An instant as it was told, which may lie so far ahead. Raises `BadCell`, `BadInput`."""
        found = self.words.instant(text, where)
        if found.year < YEAR_MIN or found > self.now + ahead:
            raise BadInput(
                f"this is before the year {YEAR_MIN}, or more than {counted(ahead.days, 'day')} ahead",
                where=where,
            )
        return found

    def perhaps(self, text: str | None, where: str, ahead: timedelta = AHEAD_MAX) -> datetime | None:
        """The same, where one was told."""
        return None if text is None else self.instant(text, where, ahead)

    def meter(self, name: str) -> Meter:
        """A meter. Raises `NotThere`."""
        found = self.registry.meters.get(name)
        if found is None:
            raise NotThere("the book has no such meter", where=name[:80])
        return found

    def made(self, part: str, event: Event) -> Made:
        """An event that the registry takes in. Raises `Contradiction`."""
        before = said_before(self.registry, event)
        self.registry.apply(event)  # type: ignore[arg-type]  # an event of the registry
        return Made(event, Change(part, before, told_fields(event)))  # type: ignore[arg-type]  # as above


Judge = Callable[[Standing], Sequence[Made]]


class RegistryDesk:
    """One process's, for one community. All methods raise what the registry says of an event that it would
    not take (`Contradiction`), `BadCell` for an instant that is none, and as a turn does."""

    def __init__(self, backend: Backend, orders: OrderDesk) -> None:
        self._backend = backend
        self._orders = orders

    async def register(self, wanted: NewRegistry, *, dry_run: bool) -> RegistryAnswer:
        """Bring in what is new and what has changed, or tell what would be. Raises `BadInput` too."""
        _check_told(wanted)
        return await self._written(partial(_registered, wanted), dry_run=dry_run)

    async def retire(self, meter: str, wanted: MeterEnd, *, dry_run: bool) -> RegistryAnswer:
        """Let a meter no longer count, or tell what would be. Raises `NotThere`."""
        return await self._written(partial(_retired, meter, wanted), dry_run=dry_run)

    async def open_epoch(self, meter: str, wanted: NewEpoch, *, dry_run: bool) -> RegistryAnswer:
        """Let a meter's registers start anew, or tell what would be. Raises `NotThere`, `BadInput`."""
        if (wanted.modulus_wh is not None) != (wanted.reason == "rollover"):
            raise BadInput(
                "a rollover has a modulus, and nothing else has", where="modulus_wh",
                hint="tell at how many Wh the registers wrap to zero",
            )  # fmt: skip
        standing = await self._standing()
        since = standing.instant(wanted.since, "since")
        if _opening(meter, since, wanted) in standing.meter(meter).epochs:
            return _answer([], published=False)
        await self._until_projected()
        inspection = Inspection(self._backend.pool, self._backend.community)
        around = await inspection.epochs_around(meter, since, timedelta(seconds=standing.words.grid.step))
        return await self._written(partial(_anew, meter, wanted, around), dry_run=dry_run)

    async def epochs(self, meter: str) -> EpochsShape:
        """What was said of a meter's registers. Raises `NotThere`."""
        found = (await self._standing()).meter(meter)
        return EpochsShape([EpochShape(each.since, each.reason, each.modulus_wh) for each in found.epochs])

    async def _until_projected(self) -> None:
        """Return when what is in the book by now is counted. Raises `NotReady` where that takes long."""
        size = None
        for _ in range(PROJECTED_LOOKS):
            health = await read_health(self._backend.pool, self._backend.community)
            size = health.size if size is None else size
            if health.projected >= size:
                return
            await asyncio.sleep(PROJECTED_POLL_SECONDS)
        raise NotReady("the projections are behind the book", hint="is the projector running?")

    async def _standing(self) -> Standing:
        book = await self._orders.book()
        return Standing(book.registry, Words(book.grid), self._backend.clock.now().replace(microsecond=0))

    async def _written(self, judge: Judge, *, dry_run: bool) -> RegistryAnswer:
        """Judged before a turn is taken, for which others wait, and once more within it."""
        standing = await self._standing()
        made = judge(standing)
        if dry_run or not made:
            return _answer(made, published=False)
        async with self._backend.operator.turn(STREAM) as turn:
            book = await self._orders.book_by(turn.connection)
            made = judge(standing._replace(registry=book.registry))
            if made:
                await turn.append(*(each.event for each in made))
        return _answer(made, published=bool(made))


def _answer(made: Sequence[Made], *, published: bool) -> RegistryAnswer:
    return RegistryAnswer(published, [each.change for each in made])


# --- judging --------------------------------------------------------------------------------------


def _registered(wanted: NewRegistry, standing: Standing) -> Sequence[Made]:
    registry = standing.registry
    feeders, buildings = registry.feeders, registry.buildings
    places = place_parts(
        [
            FeederAdded(feeder=each.feeder, name=_named(each.name, feeders.get(each.feeder), each.feeder))
            for each in wanted.feeders
        ],
        [
            BuildingAdded(
                building=each.building,
                feeder=each.feeder,
                name=_named(each.name, buildings.get(each.building), each.building),
            )
            for each in wanted.buildings
        ],
    )
    meters = [_place(standing, each, f"meters[{number}]") for number, each in enumerate(wanted.meters)]
    parts = {**places, **meter_parts(registry, meters, standing.now)}
    missing = lacked(registry, parts)
    return [made for part, event in missing.items() for made in _with_its_end(standing, part, event)]


def _with_its_end(standing: Standing, part: str, event: Event) -> Iterator[Made]:
    """An event; where it tells a meter anew whose end is planned, that end once more, which goes with it."""
    known = standing.registry.meters.get(event.meter) if isinstance(event, MeterAdded) else None
    yield standing.made(part, event)
    if known is not None and known.until is not None:
        yield standing.made(part, MeterRetired(meter=known.added.meter, until=known.until))


def _named(name: str | None, known: FeederAdded | BuildingAdded | None, otherwise: str) -> str:
    return name or (known.name if known else otherwise)


def _place(standing: Standing, wanted: NewMeter, where: str) -> MeterPlace:
    """A meter as it is asked for. Raises `Contradiction`."""
    known, now = standing.registry.meters.get(wanted.meter), standing.now
    since = standing.perhaps(wanted.since, f"{where}.since", PLANNED_MAX)
    read_since = standing.perhaps(wanted.read_since, f"{where}.read_since")
    if known is not None and known.until is not None and known.has_ended(now):
        raise _is_retired(wanted.meter, known.until)
    if known is not None and since is not None and known.readers and since < known.readers[0][0]:
        raise Contradiction(
            f"nobody reads the meter before {rfc3339(known.readers[0][0])}", where=wanted.meter,
            hint="leave out `since`: it would count for a time that nobody can tell of",
        )  # fmt: skip
    if known is not None and since is not None and known.added.since <= min(now, since - _TICK):
        raise Contradiction(
            f"the meter counts since {rfc3339(known.added.since)}, and no later", where=wanted.meter,
            hint="leave out `since`; from when on another device reads it is told as `read_since`",
        )  # fmt: skip
    reader = standing.registry.devices.get(wanted.reader or "")
    if reader is not None and reader.key is None:
        raise Contradiction(
            "the device has no key: it was revoked", where=str(wanted.reader), hint="enrol its next key first"
        )
    if known is not None and known.readers and read_since is not None:
        begun, device = known.readers[-1]
        if device == wanted.reader and read_since != begun:
            raise Contradiction(
                f"{device} reads the meter since {rfc3339(begun)}", where=wanted.meter,
                hint="who reads it already is told without `read_since`",
            )  # fmt: skip
    return MeterPlace(
        wanted.meter, wanted.role, wanted.building, wanted.model, wanted.rated_w, wanted.reader, since,
        read_since,
    )  # fmt: skip


def _retired(meter: str, wanted: MeterEnd, standing: Standing) -> Sequence[Made]:
    known, now = standing.meter(meter), standing.now
    told = standing.perhaps(wanted.until, "until", PLANNED_MAX)
    until = told or now
    if known.until is not None and (known.until == until or (told is None and known.has_ended(now))):
        return []
    if known.until is not None and known.until <= min(now, until):
        raise _is_retired(meter, known.until)
    return [standing.made(f"meter/{meter}", MeterRetired(meter=meter, until=until))]


def _is_retired(meter: str, until: datetime) -> Contradiction:
    return Contradiction(
        f"the meter is retired, and counts until {rfc3339(until)}", where=meter,
        hint="what takes its place is another meter, with a name of its own",
    )  # fmt: skip


def _opening(meter: str, since: datetime, wanted: NewEpoch) -> RegisterEpochOpened:
    return RegisterEpochOpened(meter=meter, since=since, reason=wanted.reason, modulus_wh=wanted.modulus_wh)


def _anew(meter: str, wanted: NewEpoch, around: EpochsAround, standing: Standing) -> Sequence[Made]:
    known, since = standing.meter(meter), standing.instant(wanted.since, "since")
    event = _opening(meter, since, wanted)
    if event in known.epochs:
        return []
    if since < known.added.since or (known.until is not None and since >= known.until):
        raise Contradiction("the meter does not count then", where=meter)
    is_inside = around.after is not None and around.before in (None, around.after)
    if around.until and (is_inside or (around.after is not None and wanted.reason != "rollover")):
        raise Contradiction(
            f"the meter's readings count up to {rfc3339(around.until)}", where=meter,
            hint="registers start anew behind that: a reading that did not fit is held until then",
        )  # fmt: skip
    if wanted.modulus_wh is not None and wanted.modulus_wh <= (around.register_wh or 0):
        raise BadInput(
            f"the registers were at {around.register_wh:,} Wh before, so they wrap above that",
            where="modulus_wh",
        )
    return [standing.made(f"epoch/{meter}", event)]


def _check_told(wanted: NewRegistry) -> None:
    """Return if nothing is told twice, and people can read what is for people. Raises `BadInput`."""
    _check_each("feeders", (each.feeder for each in wanted.feeders))
    _check_each("buildings", (each.building for each in wanted.buildings))
    _check_each("meters", (each.meter for each in wanted.meters))
    for number, feeder in enumerate(wanted.feeders):
        _check_text(feeder.name, f"feeders[{number}].name")
    for number, building in enumerate(wanted.buildings):
        _check_text(building.name, f"buildings[{number}].name")
    for number, meter in enumerate(wanted.meters):
        _check_text(meter.model, f"meters[{number}].model")
        if meter.reader is None and meter.read_since is not None:
            raise BadInput("this is about a reader, and none is told", where=f"meters[{number}].read_since")


def _check_text(text: str | None, where: str) -> None:
    if text is not None and (not text.isprintable() or text != text.strip() or not text):
        raise BadInput("this text is empty, or has letters that nobody sees", where=where)


def _check_each(table: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise BadInput(f"{name} is told twice", where=f"{table}[{number}]", hint="tell it once")
        seen.add(name)
