"""A simulated meter and its faults, without a wire."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.meter_model import load_models
from ingest.modbus import ReadRequest, Reply
from ingest.simulator import (
    ClockDrift,
    ExceptionAnswer,
    GlitchZero,
    LateAnswer,
    NoAnswer,
    Registers,
    SimulatedLine,
    SimulatedMeter,
    WrongFunction,
)
from ingest.simulator.line import UnitTaken
from ingest.simulator.meter import CommandUnknown
from ledger.clock import VirtualClock

START = datetime(2026, 6, 1, tzinfo=UTC)
MODEL = load_models()["acrel-adw300"]
PLAIN_COMMANDS = [
    "timeout", "garbage", "wrong-length", "wrong-function", "zero", "late 400", "exception 6",
    "drift -600", "stuck", "reset",
]  # fmt: skip
ENERGIES = ReadRequest(unit=1, function=3, address=62, count=4)  # steps of 10 Wh


class Steady:
    """10 Wh imported and 20 Wh exported every second."""

    def registers_at(self, instant: datetime) -> Registers:
        elapsed_s = (instant - START) // timedelta(seconds=1)
        return Registers(10 * elapsed_s, 20 * elapsed_s, -36_000)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START + timedelta(seconds=100))


@pytest.fixture
def meter(clock: VirtualClock) -> SimulatedMeter:
    return SimulatedMeter(1, MODEL, Steady(), clock)


def steps(meter: SimulatedMeter) -> tuple[int, int]:
    """Import and export in steps of the registers, as read."""
    reply = meter.reply(ENERGIES)
    assert reply is not None
    return reply.registers[1], reply.registers[3]


def test_a_meter_lives_by_the_clock(meter: SimulatedMeter, clock: VirtualClock) -> None:
    assert steps(meter) == (100, 200)
    clock.advance(timedelta(seconds=5))
    assert steps(meter) == (105, 210)
    assert meter.registers() == Registers(1050, 2100, -36_000)


@pytest.mark.parametrize(
    "request_", [ReadRequest(1, 4, 62, 4), ReadRequest(1, 3, 65, 2), ReadRequest(1, 3, 0, 1)]
)
def test_registers_that_are_not_there_are_an_illegal_address(
    meter: SimulatedMeter, request_: ReadRequest
) -> None:
    assert meter.reply(request_) == Reply(exception=2)


def test_a_fault_for_some_answers_ends_by_itself(meter: SimulatedMeter) -> None:
    meter.fault(NoAnswer(), times=2)
    assert [meter.reply(ENERGIES) is None for _ in range(4)] == [True, True, False, False]


def test_a_fault_without_end_lasts_until_it_is_cleared(meter: SimulatedMeter) -> None:
    meter.fault(ExceptionAnswer(6))
    assert [meter.reply(ENERGIES) for _ in range(3)] == [Reply(exception=6)] * 3
    meter.clear()
    assert steps(meter) == (100, 200)


def test_faults_of_the_wire_add_up(meter: SimulatedMeter) -> None:
    meter.fault(LateAnswer(400))
    meter.fault(WrongFunction())
    reply = meter.reply(ENERGIES)
    assert reply is not None
    assert (reply.delay_ms, reply.function) == (400, 4)


def test_a_glitch_shows_zeros_once_and_counting_goes_on(meter: SimulatedMeter) -> None:
    meter.fault(GlitchZero(), times=1)
    assert [steps(meter), steps(meter)] == [(0, 0), (100, 200)]


def test_a_stuck_meter_shows_the_same_while_time_passes(meter: SimulatedMeter, clock: VirtualClock) -> None:
    meter.stick()
    clock.advance(timedelta(hours=1))
    assert steps(meter) == (100, 200)


def test_a_drifting_meter_counts_at_another_time(meter: SimulatedMeter) -> None:
    meter.fault(ClockDrift(-40))
    assert steps(meter) == (60, 120)


def test_a_reset_meter_counts_from_zero(meter: SimulatedMeter, clock: VirtualClock) -> None:
    meter.reset()
    assert steps(meter) == (0, 0)
    clock.advance(timedelta(seconds=3))
    assert steps(meter) == (3, 6)


def test_a_replaced_meter_has_another_serial_number_and_counts_from_zero(
    clock: VirtualClock,
) -> None:
    meter = SimulatedMeter(1, load_models()["sdm630"], Steady(), clock, serial="111")
    serial = ReadRequest(unit=1, function=3, address=0xFC00, count=2)
    assert meter.reply(serial) == Reply(registers=(0, 111))
    meter.replace("65537")
    assert meter.reply(serial) == Reply(registers=(1, 1))
    assert meter.serial == "65537"
    assert meter.registers() == Registers(0, 0, -36_000)


@pytest.mark.parametrize("text", PLAIN_COMMANDS)
def test_every_command_changes_something_and_ok_ends_the_faults(
    meter: SimulatedMeter, clock: VirtualClock, text: str
) -> None:
    healthy = meter.reply(ENERGIES)
    meter.command(text)
    clock.advance(timedelta(seconds=9))
    assert meter.reply(ENERGIES) != healthy or text == "stuck"
    meter.command("ok")
    after = steps(meter)
    assert after == ((9, 18) if text == "reset" else (109, 218))


@pytest.mark.parametrize("text", ["", "late", "late soon", "timeout 3", "explode"])
def test_an_unknown_command_is_answered_with_the_known_ones(meter: SimulatedMeter, text: str) -> None:
    with pytest.raises(CommandUnknown) as unknown:
        meter.command(text)
    assert "late <number>" in unknown.value.hint


def test_two_meters_of_a_line_cannot_share_a_unit(meter: SimulatedMeter) -> None:
    with pytest.raises(UnitTaken, match="unit 1"):
        SimulatedLine([meter, meter])
