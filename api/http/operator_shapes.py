"""What answers for operators look like: registry, alarms, market, quarantine, and who asked for what."""

from datetime import date, datetime

import msgspec

from api.http.shapes import Amount, amount
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.postgres.inspection import AlarmRow, RegistryRows, RequestRow
from ledger.postgres.quarantine_store import RefusedRow
from ledger.quarantine import what_to_do
from settlement.tariff import parse_tariff
from settlement.tariff_file import NoPrice


class RegisteredFeeder(msgspec.Struct, frozen=True):
    """A feeder of the private grid."""

    feeder: str
    name: str


class RegisteredBuilding(msgspec.Struct, frozen=True):
    """A building, and the feeder that it hangs on."""

    building: str
    name: str
    feeder: str


class RegisteredMeter(msgspec.Struct, frozen=True):
    """A meter; a main meter has no building. `reader` is the device that reads it now, `newest` the start of
    the newest interval that is known of it."""

    meter: str
    role: str
    building: str | None
    model: str
    rated_w: int
    since: datetime
    until: datetime | None
    reader: str | None
    newest: datetime | None


class RegisteredDevice(msgspec.Struct, frozen=True):
    """A device; it has no key while that is revoked. `position` is that of the event that set it."""

    device: str
    role: str
    public_key: str | None
    position: int


class RegistryShape(msgspec.Struct, frozen=True):
    """Who and what takes part, in one state of the book."""

    feeders: list[RegisteredFeeder]
    buildings: list[RegisteredBuilding]
    meters: list[RegisteredMeter]
    devices: list[RegisteredDevice]


def registry_shape(rows: RegistryRows) -> RegistryShape:
    """As the API shows it."""
    return RegistryShape(
        [RegisteredFeeder(**row) for row in rows.feeders],
        [RegisteredBuilding(**row) for row in rows.buildings],
        [RegisteredMeter(**row) for row in rows.meters],
        [RegisteredDevice(**row) for row in rows.devices],
    )


class AlarmShape(msgspec.Struct, frozen=True):
    """An alarm that a gateway raised, and its place in the log."""

    position: int
    device: str
    alarm: str
    meter: str | None
    detail: str
    at: datetime


def alarm_shape(row: AlarmRow) -> AlarmShape:
    """As the API shows it."""
    return AlarmShape(*row)


class WheelingShape(msgspec.Struct, frozen=True):
    """What it takes to bring energy from one feeder to another."""

    source: str
    target: str
    fee_per_kwh: Amount
    loss_ppm: int


class RulesShape(msgspec.Struct, frozen=True):
    """Rules of the market, which hold from `begin` to the next ones. Fractions are parts a million."""

    begin: datetime
    mechanism: str
    tariff: str
    gate_minutes: int
    final_days: int
    compensation_ppm: int
    split_ppm: int
    price_rule: str
    key_kind: str
    keys: dict[str, int]
    operator_fee_per_kwh: Amount
    wheeling: list[WheelingShape]
    contracted_w: int | None


class KnownShape(msgspec.Struct, frozen=True):
    """A part of a tariff, and the first day of which it says nothing; none where it has no end. One that
    has passed tells since when there is no price."""

    part: str
    until: date | None


class TariffShape(msgspec.Struct, frozen=True):
    """A tariff as it was published last. `problem` says what of it cannot be used today, if anything."""

    tariff: str
    known: list[KnownShape]
    problem: str | None = None


class MarketShape(msgspec.Struct, frozen=True):
    """The market as published."""

    rules: list[RulesShape]
    tariffs: list[TariffShape]


def rules_shape(event: MarketRulesPublished, currency: str) -> RulesShape:
    """As the API shows it."""
    wheeling = [
        WheelingShape(each.source, each.target, amount(each.fee_micro_per_kwh, currency), each.loss_ppm)
        for each in event.wheeling
    ]
    return RulesShape(
        event.begin, event.mechanism, event.tariff, event.gate_minutes, event.final_days,
        event.compensation_ppm, event.split_ppm, event.price_rule, event.key_kind, event.keys,
        amount(event.operator_fee_micro_per_kwh, currency), wheeling, event.contracted_w,
    )  # fmt: skip


def tariff_shape(event: TariffPublished, today: date) -> TariffShape:
    """As the API shows it: how far each part is known from a day on."""
    try:
        tariff = parse_tariff(event.tariff, event.document, event.beside)
    except NoPrice as error:
        return TariffShape(event.tariff, [], str(error))
    known = [KnownShape(*each) for each in tariff.known_until(today)]
    lacking = [f"of {each.part} since {each.until}" for each in known if each.until and each.until <= today]
    problem = f"no price today: nothing is said {', '.join(lacking)}" if lacking else None
    return TariffShape(event.tariff, known, problem)


class Quarantined(msgspec.Struct, frozen=True):
    """A message that was refused: by whom it says it is, for which place of which stream, why, and how often
    it came. `resolved_at` is there when it waits no longer: it was recorded after all or, as `resolution`
    says, `released` or `rejected` with the key `resolved_by`; or it was judged again and refused with another
    code, `refused_as`."""

    digest: str
    code: str
    device: str
    stream: str | None
    sequence: int | None
    what: str
    to_do: str
    first_at: datetime
    last_at: datetime
    times: int
    resolved_at: datetime | None
    resolution: str | None
    resolved_by: str | None
    refused_as: str | None


TO_DO = {
    "unknown-device": "let it be enrolled: `POST devices/tokens` gives out a token for it",
}
"""What to do, for who has no command line, where the ledger's own words speak of that."""


def quarantined(row: RefusedRow) -> Quarantined:
    """As the API shows it."""
    fields = row._asdict()
    told = TO_DO.get(row.code) if row.resolved_at is None else None
    to_do = told or what_to_do(fields)
    return Quarantined(**{**fields, "digest": row.digest.hex(), "to_do": to_do})


class MessageShape(msgspec.Struct, frozen=True):
    """A refused message: what it was refused for, the newest first, and its text, in which bytes that are no
    UTF-8 are shown as U+FFFD."""

    digest: str
    refused: list[Quarantined]
    message: str


def message_shape(digest: bytes, rows: list[RefusedRow], message: bytes) -> MessageShape:
    """As the API shows it."""
    return MessageShape(digest.hex(), [quarantined(row) for row in rows], message.decode(errors="replace"))


class RequestShape(msgspec.Struct, frozen=True):
    """A request that was answered: when, by which id, with whose key or by which person, in which role, and
    how long it took in microseconds. `key` is a key's prefix, or the id of the `person`."""

    at: datetime
    id: str
    key: str | None
    person: str | None
    role: str | None
    method: str
    path: str
    status: int
    micros: int


def request_shape(row: RequestRow) -> RequestShape:
    """As the API shows it."""
    return RequestShape(*row)
