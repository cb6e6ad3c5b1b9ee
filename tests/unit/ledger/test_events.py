"""A body is read as the event it says it is, in its one spelling, or not at all."""

import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import INTEGER_MAX, Malformed, NotCanonical, decode, encode
from ledger.errors import BadInput
from ledger.event import Event, new_salt
from ledger.events import STREAM_KINDS, AnyEvent, BlockSealed, MeterRead, read_bodies
from tests.unit.ledger.campus import (
    MORNING,
    STRANGER_KEY,
    bodies_of,
    facts,
    opening,
    reading,
    readings,
    rotated,
)

TYPES: tuple[type[Event], ...] = typing.get_args(AnyEvent)
READING = encode(reading(1))


def changed(**fields: object) -> bytes:
    """The body of a reading with other fields; those of `None` are left out."""
    body = {**msgspec.json.decode(READING), **fields}
    return encode({name: value for name, value in body.items() if value is not ...})


def test_every_event_of_a_campus_is_read_as_it_was_written() -> None:
    events = [opening(), *facts(), rotated("gw-1", STRANGER_KEY), *readings(0, 96)]
    assert read_bodies(bodies_of(events)) == events
    assert read_bodies([]) == []


def test_every_type_of_event_has_a_stream_and_one_name() -> None:
    assert set(STREAM_KINDS) == set(TYPES)
    tags = [event.__struct_config__.tag for event in TYPES]
    assert len(set(tags)) == len(tags)
    for tag in tags:
        name, _, version = str(tag).partition("/")
        assert version.isdecimal()
        assert name == name.lower()


@pytest.mark.parametrize("event", TYPES, ids=lambda event: event.__name__)
def test_facts_do_not_change(event: type[Event]) -> None:
    config = event.__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields
    assert config.omit_defaults


def instants(kind: msgspec.inspect.Type, within: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a type holds instants."""
    match kind:
        case msgspec.inspect.DateTimeType():
            yield within
        case msgspec.inspect.UnionType(types=types):
            for part in types:
                yield from instants(part, within)
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield from instants(field.type, (*within, field.name))
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
            yield from instants(item, (*within, "[]"))
        case msgspec.inspect.DictType(value_type=value):
            yield from instants(value, (*within, "{}"))


@pytest.mark.parametrize("event", TYPES, ids=lambda event: event.__name__)
def test_instants_stand_at_the_top_of_an_event_where_they_are_checked(event: type[Event]) -> None:
    assert all(len(place) == 1 for place in instants(msgspec.inspect.type_info(event)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"1",
        b'"meter-read/1"',
        READING[:-1],
        READING + READING,
        READING + b",",
        READING + b"," + READING,
        b"\xef\xbb\xbf" + READING,
        changed(type="meter-read/2"),
        changed(type="Meter-Read/1"),
        changed(type=1),
        changed(type=...),
        changed(salt=...),
        changed(salt="short"),
        changed(salt="A" * 17),
        changed(import_wh=-1),
        changed(import_wh=2**53),
        changed(import_wh="1"),
        changed(import_wh=None),
        changed(import_wh=True),
        changed(import_wh=1.5),
        READING.replace(b'"export_wh":0', b'"export_wh":0.0'),
        READING.replace(b'"export_wh":0', b'"export_wh":0e0'),
        changed(quality="good"),
        changed(power_w=-(2**53)),
        changed(extra=1),
        changed(Import_wh=1),
        changed(raw="a" * 201),
        changed(measured_at="2026-06-01T00:15:00"),
        changed(measured_at="2026-06-01"),
        changed(measured_at="2026-06-01T07:15:00+07:00"),
        changed(measured_at="2026-05-31T20:15:00-04:00"),
        changed(measured_at="2026-06-01T00:15:00.5Z"),
        changed(measured_at="2026-06-01T00:15:00.000001Z"),
        changed(measured_at="2026-02-30T00:15:00Z"),
        changed(measured_at="0001-01-01T00:00:00Z"),
        changed(measured_at="1999-12-31T23:45:00Z"),
        changed(measured_at="2200-01-01T00:00:00Z"),
        changed(measured_at="2026-06-01T25:15:00Z"),
        changed(measured_at=0),
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    ],
)
def test_what_is_no_event_is_malformed_and_named(body: bytes) -> None:
    with pytest.raises(Malformed, match="body 1"):
        read_bodies([READING, body, READING])


@pytest.mark.parametrize(
    "body",
    [
        READING.replace(b",", b", ", 1),
        READING + b" ",
        b"\n" + READING,
        READING.replace(b'"export_wh":0', b'"export_wh":-0'),
        READING.replace(b'"export_wh":0', b'"export_wh":0,"export_wh":0'),
        READING.replace(b'"export_wh":0', b'"export_wh":1,"export_wh":0'),
        READING.replace(b"export_wh", b"\\u0065xport_wh"),
        READING.replace(b'"AAAA', b'"\\u0041AAA'),
        READING.replace(b',"type":"meter-read/1"', b"").replace(b"{", b'{"type":"meter-read/1",'),
        changed(power_w=None),
        changed(serial=None),
        changed(measured_at="2026-06-01T00:15:00.000Z"),
        changed(measured_at="2026-06-01T00:15:00+00:00"),
        changed(measured_at="2026-06-01t00:15:00z"),
        changed(measured_at="2026-06-01 00:15:00Z"),
    ],
)
def test_what_is_spelt_in_another_way_is_not_canonical(body: bytes) -> None:
    with pytest.raises(NotCanonical, match="body 2"):
        read_bodies([READING, READING, body])


def test_bodies_that_make_sense_only_together_are_refused() -> None:
    # Joined by a comma, these two are two events; each alone is no JSON.
    feeder = encode({"feeder": "f", "name": "x},{y", "type": "feeder-added/1"})
    cut = feeder.index(b"},{") + 1
    torn = [feeder + b"," + feeder[:cut], feeder[cut + 1 :]]
    assert len(msgspec.json.decode(b",".join([b"[" + torn[0], torn[1] + b"]"]))) == len(torn)
    with pytest.raises(Malformed):
        read_bodies(torn)


@pytest.mark.parametrize("name", ["m-1\n", "M-1", "", "m 1", "m/1", "a" * 65, "มิเตอร์", "m-1\\"])
def test_a_name_in_an_event_is_a_name_of_the_book(name: str) -> None:
    with pytest.raises(Malformed):
        read_bodies([encode({"feeder": name, "name": "x", "type": "feeder-added/1"})])


def test_hex_in_an_event_is_lower_case_and_of_its_length() -> None:
    block = BlockSealed(number=1, previous="0" * 64, root="ab" * 32, sealed_at=MORNING, size=1)
    assert read_bodies([encode(block)]) == [block]
    for root in ("AB" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + "\n", "0x" + "ab" * 31):
        with pytest.raises(Malformed):
            read_bodies([encode(msgspec.structs.replace(block, root=root))])


def test_an_instant_is_utc_and_whole_seconds_whoever_wrote_the_event() -> None:
    bangkok = timezone(timedelta(hours=7))
    for instant in (MORNING.replace(microsecond=1), MORNING.astimezone(bangkok)):
        event = msgspec.structs.replace(reading(0), measured_at=instant)
        with pytest.raises(Malformed, match="measured_at"):
            read_bodies([encode(event)])


def test_a_text_may_hold_any_characters() -> None:
    name = 'อาคาร 1 "A\\B"\n\t\x00\u2028🌞'
    body = encode({"feeder": "f", "name": name, "type": "feeder-added/1"})
    (event,) = read_bodies([body])
    assert encode(event) == body
    assert decode(body)["name"] == name


def test_salts_are_12_bytes_and_differ() -> None:
    salts = {new_salt() for _ in range(100)}
    assert len(salts) == 100
    assert all(len(salt) == 16 and salt.isascii() for salt in salts)


NATURALS = st.integers(0, INTEGER_MAX)
READINGS = st.builds(
    MeterRead,
    import_wh=NATURALS,
    export_wh=NATURALS,
    measured_at=st.datetimes(
        datetime(2000, 1, 1),
        datetime(2199, 12, 31),
        timezones=st.just(UTC),
    ).map(lambda instant: instant.replace(microsecond=0)),
    quality=st.sampled_from(["measured", "estimated", "suspect"]),
    salt=st.just("AAAAAAAAAAAAAAAA"),
    power_w=st.none() | st.integers(-INTEGER_MAX, INTEGER_MAX),
    raw=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    serial=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(READINGS, max_size=5))
def test_any_reading_is_read_as_it_was_written(events: list[MeterRead]) -> None:
    bodies = [encode(event) for event in events]
    assert read_bodies(bodies) == events
    assert [decode(body) for body in bodies] == [msgspec.to_builtins(event) for event in events]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_are_an_event_that_encodes_to_them_or_refused(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(bodies_of([opening(), *facts(), reading(1)]))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        (event,) = read_bodies([bytes(body)])
    except BadInput:
        return
    assert encode(event) == body
