"""Validation at the edge: what is marked, alarmed and remembered. Nothing is edited or dropped."""

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.alarms import Alarms
from ingest.meter_reading import ModbusNotANumber, Reading
from ingest.modbus import ModbusTimeout
from ingest.observation import Observation
from ingest.outbox import Outgoing
from ingest.validation import AGREEING_MIN, ALARMS_MEMORY, Known, Validation, judge
from ledger.errors import LedgerError
from ledger.events import AlarmRaised, MeterRead, read_bodies
from ledger.plausibility import Registers
from tests.unit.ingest.site import GATEWAY, OWN_STREAM, QUARTER, RATED_W, START

STEP_WH = RATED_W // 8
"""Half of what the connection carries in a quarter."""


def reading(import_wh: int, export_wh: int = 0, power_w: int | None = 4_000) -> Reading:
    return Reading(import_wh, export_wh, power_w, "461c4000461c4000")


class Edge:
    """A gateway's validation over some quarters, restarted between any two of them if asked to."""

    def __init__(self) -> None:
        self.memory: dict[str, bytes] = {}
        self.outgoing: list[Outgoing] = []
        self.restart()

    def restart(self) -> None:
        alarms = Alarms(GATEWAY, self.memory.get(ALARMS_MEMORY, b"[]"))
        self.validation = Validation({"m-1": RATED_W, "m-2": RATED_W}, alarms, self.memory)

    def see(
        self,
        quarter: int,
        what: int | Reading | LedgerError,
        *,
        meter: str = "m-1",
        serial: str | None = None,
        late: timedelta = timedelta(),
    ) -> None:
        at = START + quarter * QUARTER + late
        seen = (
            Observation(meter, at, error=what)
            if isinstance(what, LedgerError)
            else Observation(meter, at, reading(what) if isinstance(what, int) else what, serial)
        )
        outgoing, memory = self.validation.take([seen])
        self.outgoing += outgoing
        self.memory.update(memory)

    @property
    def readings(self) -> list[MeterRead]:
        events = read_bodies([one.body for one in self.outgoing if one.stream != OWN_STREAM])
        return [event for event in events if isinstance(event, MeterRead)]

    @property
    def alarms(self) -> list[tuple[str, str | None, datetime]]:
        events = read_bodies([one.body for one in self.outgoing if one.stream == OWN_STREAM])
        return [(event.alarm, event.meter, event.at) for event in events if isinstance(event, AlarmRaised)]

    @property
    def alarm_names(self) -> list[str]:
        return [alarm for alarm, _, _ in self.alarms]


@pytest.fixture
def edge() -> Edge:
    return Edge()


def test_a_plausible_reading_goes_out_as_it_was_read(edge: Edge) -> None:
    edge.see(0, Reading(123, 45, -6_000, "00ff"), serial="SN 1")
    (event,) = edge.readings
    assert (event.import_wh, event.export_wh, event.power_w, event.raw) == (123, 45, -6_000, "00ff")
    assert (event.measured_at, event.quality, event.serial) == (START, "measured", "SN 1")
    assert edge.outgoing[0].stream == "meter/m-1"
    assert edge.alarms == []


@pytest.mark.parametrize(
    ("second", "alarm"),
    [
        (50_000 + STEP_WH, ""),
        (50_000, ""),
        (49_999, "register-rollback"),
        (0, "glitch-zero"),
        (50_000 + RATED_W, "impossible-jump"),
    ],
)
def test_what_cannot_be_true_is_marked_and_alarmed_but_sent_unchanged(
    edge: Edge, second: int, alarm: str
) -> None:
    edge.see(0, 50_000)
    edge.see(1, second)
    assert [event.import_wh for event in edge.readings] == [50_000, second]
    assert edge.readings[1].quality == ("suspect" if alarm else "measured")
    assert edge.alarms == ([(alarm, "m-1", START + QUARTER)] if alarm else [])


def test_an_alarm_is_raised_once_and_again_only_after_it_was_right(edge: Edge) -> None:
    for quarter, import_wh in enumerate([50_000, 10, 0, 5, 50_100, 50_200, 20, 50_300]):
        edge.see(quarter, import_wh)
        edge.restart()
    qualities = [event.quality[0] for event in edge.readings]
    assert "".join(qualities) == "msssmmsm"
    assert edge.alarm_names == ["register-rollback", "glitch-zero", "register-rollback"]


def test_the_registers_are_never_measured_from_a_drop(edge: Edge) -> None:
    """A glitch zero became a slot of 53.7 MWh elsewhere."""
    edge.see(0, 53_700_000)
    edge.see(1, 0)
    edge.see(2, 53_700_100)
    assert [event.quality for event in edge.readings] == ["measured", "suspect", "measured"]
    assert edge.alarm_names == ["glitch-zero"]


def test_readings_that_agree_for_an_hour_are_believed(edge: Edge) -> None:
    edge.see(0, 50_000)
    for quarter in range(1, 3 + AGREEING_MIN):
        edge.see(quarter, 100 * quarter)
        edge.restart()
    qualities = [event.quality for event in edge.readings[1:]]
    assert qualities == ["suspect"] * (AGREEING_MIN - 1) + ["measured"] * 3
    assert edge.alarm_names == ["register-rollback"]


def test_zeros_are_never_believed(edge: Edge) -> None:
    edge.see(0, 50_000)
    for quarter in range(1, 20):
        edge.see(quarter, 0)
    assert {event.quality for event in edge.readings[1:]} == {"suspect"}
    assert edge.alarm_names == ["glitch-zero"]


def test_another_serial_number_explains_other_registers(edge: Edge) -> None:
    edge.see(0, 50_000, serial="A")
    edge.see(1, 7, serial="B")
    edge.see(2, 9)
    edge.see(3, 11, serial="B")
    assert {event.quality for event in edge.readings} == {"measured"}
    assert [event.serial for event in edge.readings] == ["A", "B", None, "B"]
    assert edge.alarm_names == ["serial-changed"]


def test_a_suspicious_reading_asks_for_the_serial_number(edge: Edge) -> None:
    edge.see(0, 50_000)

    def suspicious(import_wh: int) -> bool:
        seen = Observation("m-1", START + QUARTER, reading(import_wh))
        return edge.validation.is_suspicious(seen)

    assert (suspicious(50_100), suspicious(100), suspicious(0)) == (False, True, True)
    assert not edge.validation.is_suspicious(Observation("m-1", START, error=ModbusTimeout("silent")))
    assert not edge.validation.is_suspicious(Observation("m-2", START, reading(5)))


def test_a_meter_goes_offline_and_online_once_each(edge: Edge) -> None:
    edge.see(0, 100)
    for quarter in (1, 2, 3):
        edge.see(quarter, ModbusTimeout("no answer", where="10.0.0.5:502 unit 1"))
        edge.restart()
    edge.see(4, 200)
    edge.see(5, 300)
    assert edge.alarms == [
        ("meter-offline", "m-1", START + QUARTER),
        ("meter-online", "m-1", START + 4 * QUARTER),
    ]
    assert len(edge.readings) == 3


def test_meters_have_their_own_alarms(edge: Edge) -> None:
    for meter in ("m-1", "m-2"):
        edge.see(0, ModbusTimeout("no answer"), meter=meter)
    edge.see(1, 5, meter="m-2")
    assert [(alarm, meter) for alarm, meter, _ in edge.alarms] == [
        ("meter-offline", "m-1"),
        ("meter-offline", "m-2"),
        ("meter-online", "m-2"),
    ]


def test_a_meter_without_a_number_is_not_offline(edge: Edge) -> None:
    edge.see(0, ModbusTimeout("no answer"))
    edge.see(1, ModbusNotANumber("import: the meter marks the value as missing"))
    edge.see(2, ModbusNotANumber("import: the meter marks the value as missing"))
    edge.see(3, 100)
    edge.see(4, ModbusNotANumber("import: the meter marks the value as missing"))
    assert edge.alarm_names == ["meter-offline", "meter-online", "not-a-number", "not-a-number"]


def test_a_clock_set_back_does_not_make_readings_suspect(edge: Edge) -> None:
    edge.see(100, 50_000)
    edge.see(2, 50_000 + STEP_WH)
    edge.see(3, 50_000 + 2 * STEP_WH)
    assert {event.quality for event in edge.readings} == {"measured"}


def test_what_the_book_has_no_room_for_is_left_out_of_what_accompanies_a_reading(edge: Edge) -> None:
    edge.see(0, reading(100, power_w=2**60), serial="S" * 60)
    (event,) = edge.readings
    assert (event.power_w, event.serial) == (None, "S" * 40)


def test_memory_of_another_form_is_forgotten() -> None:
    edge = Edge()
    edge.memory = {"meter/m-1": b'{"registers":"elsewhere"}'}
    edge.restart()
    edge.see(0, 100)
    assert [event.quality for event in edge.readings] == ["measured"]


def test_long_details_fit_the_event(edge: Edge) -> None:
    edge.see(0, ModbusTimeout("x" * 500))
    assert edge.alarm_names == ["meter-offline"]


REGISTERS = st.builds(Registers, st.integers(0, 2**40), st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))


@given(st.none() | REGISTERS, REGISTERS, st.sampled_from([None, "A"]), st.integers(1, 10**9))
def test_a_judgement_is_remembered_as_it_was_made(
    before: Registers | None, after: Registers, serial: str | None, rated_w: int
) -> None:
    known = Known(before, "A") if before else None
    verdict = judge(known, after, serial, rated_w)
    assert (verdict.quality == "suspect") == bool(verdict.fault)
    assert verdict.known.registers == (before if verdict.fault else after)
    assert msgspec.json.decode(msgspec.json.encode(verdict.known), type=Known) == verdict.known
