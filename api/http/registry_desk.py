"""Writing to the registry: judged by the book as it stands, then appended by a turn, whole or not at all.

What the settings ask for is brought in by `provision`, by the same functions. Neither side undoes the other.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.market_shapes import Change
from api.http.problems import NotThere
from api.http.registry_shapes import MeterEnd, NewEpoch, NewMeter, NewRegistry, RegistryAnswer
from api.registering import MeterPlace, lacked, meter_parts, place_parts
from ledger.clock import rfc3339
from ledger.errors import BadInput, Contradiction
from ledger.event import Event
from ledger.events import (
    AnyEvent,
    BuildingAdded,
    FeederAdded,
    MeterAdded,
    MeterAssigned,
    MeterRetired,
    RegisterEpochOpened,
)
from ledger.registry import Meter, Registry
from settlement.ordering import Words

STREAM = "registry"


class Made(NamedTuple):
    """An event that the book would take, and what it changes."""

    event: AnyEvent
    change: Change


Judge = Callable[[Registry, Words, datetime], Sequence[Made]]
"""Makes events from a registry that is nobody else's, which has taken them in by then."""


class RegistryDesk:
    """One process's, for one community. All methods raise what the registry says of an event that it would
    not take (`Contradiction`), `BadCell` for an instant that is none, and as a turn does."""

    def __init__(self, backend: Backend, orders: OrderDesk) -> None:
        self._backend = backend
        self._orders = orders

    async def register(self, wanted: NewRegistry, *, dry_run: bool) -> RegistryAnswer:
        """Bring in what is new and what has changed, or tell what would be. Raises `BadInput` too."""
        _check_once(wanted)

        def judge(registry: Registry, words: Words, now: datetime) -> Sequence[Made]:
            places = place_parts(
                [FeederAdded(feeder=each.feeder, name=each.name or each.feeder) for each in wanted.feeders],
                [
                    BuildingAdded(building=each.building, feeder=each.feeder, name=each.name or each.building)
                    for each in wanted.buildings
                ],
            )
            meters = [_place(registry, each, words) for each in wanted.meters]
            parts = {**places, **meter_parts(registry, meters, now)}
            return [_made(registry, part, event) for part, event in lacked(registry, parts).items()]

        return await self._written(judge, dry_run=dry_run)

    async def retire(self, meter: str, wanted: MeterEnd, *, dry_run: bool) -> RegistryAnswer:
        """Let a meter no longer count, or tell what would be. Raises `NotThere`."""

        def judge(registry: Registry, words: Words, now: datetime) -> Sequence[Made]:
            known, until = _known(registry, meter), _instant(words, wanted.until, "until")
            if known.until is not None:
                if until not in (None, known.until):
                    raise _retired(meter, known.until)
                return []
            return [_made(registry, f"meter/{meter}", MeterRetired(meter=meter, until=until or now))]

        return await self._written(judge, dry_run=dry_run)

    async def open_epoch(self, meter: str, wanted: NewEpoch, *, dry_run: bool) -> RegistryAnswer:
        """Let a meter's registers start anew, or tell what would be. Raises `NotThere`, `BadInput`."""
        if (wanted.modulus_wh is not None) != (wanted.reason == "rollover"):
            raise BadInput(
                "a rollover has a modulus, and nothing else has", where="modulus_wh",
                hint="tell at how many Wh the registers wrap to zero",
            )  # fmt: skip

        def judge(registry: Registry, words: Words, now: datetime) -> Sequence[Made]:
            _known(registry, meter)
            event = RegisterEpochOpened(
                meter=meter,
                since=_instant(words, wanted.since, "since") or now,
                reason=wanted.reason,
                modulus_wh=wanted.modulus_wh,
            )
            return [_made(registry, f"epoch/{meter}", event)]

        return await self._written(judge, dry_run=dry_run)

    async def _written(self, judge: Judge, *, dry_run: bool) -> RegistryAnswer:
        """Judged before a turn is taken, for which others wait, and once more within it."""
        now = self._backend.clock.now().replace(microsecond=0)
        book = await self._orders.book()
        made = judge(book.registry, Words(book.grid), now)
        if dry_run or not made:
            return _answer(made, published=False)
        async with self._backend.operator.turn(STREAM) as turn:
            book = await self._orders.book_by(turn.connection)
            made = judge(book.registry, Words(book.grid), now)
            if made:
                await turn.append(*(each.event for each in made))
        return _answer(made, published=bool(made))


def _answer(made: Sequence[Made], *, published: bool) -> RegistryAnswer:
    return RegistryAnswer(published, [each.change for each in made])


def _made(registry: Registry, part: str, event: Event) -> Made:
    """An event that the registry takes in. Raises `Contradiction`."""
    before = _said(registry, event)
    registry.apply(event)  # type: ignore[arg-type]  # an event of the registry
    after = msgspec.to_builtins(event)
    del after["type"]
    return Made(event, Change(part, before, after))  # type: ignore[arg-type]  # as above


def _said(registry: Registry, event: Event) -> object:
    """What the book says of the same by now, in the fields of the event."""
    match event:
        case FeederAdded():
            found: Event | None = registry.feeders.get(event.feeder)
        case BuildingAdded():
            found = registry.buildings.get(event.building)
        case MeterAdded():
            known = registry.meters.get(event.meter)
            found = known.added if known else None
        case MeterAssigned():
            known = registry.meters.get(event.meter)
            since, device = known.readers[-1] if known and known.readers else (None, "")
            found = MeterAssigned(meter=event.meter, device=device, since=since) if since else None
        case _:
            found = None
    if found is None:
        return None
    told = msgspec.to_builtins(found)
    del told["type"]
    return told


def _place(registry: Registry, wanted: NewMeter, words: Words) -> MeterPlace:
    """A meter as it is asked for. Raises `Contradiction` where it would count for another time than before:
    what was settled meanwhile would not be settled again."""
    known = registry.meters.get(wanted.meter)
    since = _instant(words, wanted.since, "since")
    if known is not None and known.until is not None:
        raise _retired(wanted.meter, known.until)
    if known is not None and since not in (None, known.added.since):
        raise Contradiction(
            f"the meter counts since {rfc3339(known.added.since)}, and that stays so", where=wanted.meter,
            hint="leave out `since`; from when on another device reads it is told as `read_since`",
        )  # fmt: skip
    return MeterPlace(
        wanted.meter, wanted.role, wanted.building, wanted.model, wanted.rated_w, wanted.reader, since,
        _instant(words, wanted.read_since, "read_since"),
    )  # fmt: skip


def _retired(meter: str, until: datetime) -> Contradiction:
    return Contradiction(
        f"the meter is retired, and counts until {rfc3339(until)}", where=meter,
        hint="what takes its place is another meter, with a name of its own",
    )  # fmt: skip


def _known(registry: Registry, meter: str) -> Meter:
    found = registry.meters.get(meter)
    if found is None:
        raise NotThere("the book has no such meter", where=meter[:80])
    return found


def _instant(words: Words, text: str | None, where: str) -> datetime | None:
    return None if text is None else words.instant(text, where)


def _check_once(wanted: NewRegistry) -> None:
    """Return if nothing is told twice. Raises `BadInput`."""
    _check_each("feeders", (each.feeder for each in wanted.feeders))
    _check_each("buildings", (each.building for each in wanted.buildings))
    _check_each("meters", (each.meter for each in wanted.meters))
    for number, each in enumerate(wanted.meters):
        if each.reader is None and each.read_since is not None:
            raise BadInput("this is about a reader, and none is told", where=f"meters[{number}].read_since")


def _check_each(table: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise BadInput(f"{name} is told twice", where=f"{table}[{number}]", hint="tell it once")
        seen.add(name)
