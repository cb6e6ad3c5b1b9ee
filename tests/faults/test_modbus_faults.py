"""How lines and meters fail in the field, on real sockets, and that no failure becomes a reading."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerType

from ingest.meter_model import load_models
from ingest.meter_reading import ModbusNotANumber, WrongMeter
from ingest.modbus import (
    FramerName,
    Line,
    LineSettings,
    MeterBusy,
    MeterOffline,
    MeterOnLine,
    ModbusException,
    ModbusGarbled,
    ModbusServer,
    ModbusTimeout,
    ReadRequest,
    Reply,
    SunSpecMissing,
    Unreachable,
)
from ingest.simulator import (
    ExceptionAnswer,
    Fault,
    GarbageAnswer,
    GlitchZero,
    LateAnswer,
    NoAnswer,
    Registers,
    ShortAnswer,
    SimulatedLine,
    SimulatedMeter,
    Simulator,
    WrongFunction,
)
from ledger.clock import VirtualClock
from ledger.errors import LedgerError

MODELS = load_models()
SDM, ABB = MODELS["sdm630"], MODELS["abb-b23"]
CLOCK = VirtualClock(datetime(2026, 6, 1, tzinfo=UTC))
SHOWN = Registers(2000, 7000, 100)
IMPORT, EXPORT = (4, 0x48, 2), (4, 0x4A, 2)  # function, address, count: of the same shape
IMPORT_WORDS, EXPORT_WORDS = (0x4000, 0), (0x40E0, 0)  # 2.0 and 7.0 kWh
TIMEOUT_MS, QUIET_MS = 60, 40
BOTH: tuple[FramerName, ...] = ("tcp", "rtu")


class Still:
    """A meter that shows the same for ever."""

    def registers_at(self, instant: datetime) -> Registers:
        return SHOWN


class Bench:
    """A line with two SDM630 and one ABB meter behind it, and what reads them."""

    def __init__(self, line: SimulatedLine, framer: FramerName) -> None:
        self.simulated = line
        self.framer: FramerName = framer
        self.meter = line.meters[1]

    def line(self, **settings: int) -> Line:
        values = {"pause_ms": 0, "timeout_ms": TIMEOUT_MS, "quiet_ms": QUIET_MS} | settings
        return Line(
            LineSettings("127.0.0.1", self.simulated.port, self.framer, **values),  # type: ignore[arg-type] - all are integers
            CLOCK,
        )


@pytest.fixture(params=BOTH)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with _bench(request.param) as made:
        yield made


@pytest.fixture
async def rtu_bench() -> AsyncIterator[Bench]:
    async with _bench("rtu") as made:
        yield made


@asynccontextmanager
async def _bench(framer: FramerName) -> AsyncIterator[Bench]:
    meters = [SimulatedMeter(unit, model, Still(), CLOCK) for unit, model in _UNITS.items()]
    line = SimulatedLine(meters, framer=framer)
    async with Simulator([line]):
        yield Bench(line, framer)


_UNITS = {1: SDM, 2: SDM, 3: ABB}


@asynccontextmanager
async def serving(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    """Any other server on the loopback; yields its port."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


# --- late answers ---------------------------------------------------------------------------------


async def test_the_bare_library_takes_a_late_answer_for_the_next_one(rtu_bench: Bench) -> None:
    """Why this product does not use pymodbus's client; should it ever be mended, this fails."""
    client = AsyncModbusTcpClient(
        "127.0.0.1",
        port=rtu_bench.simulated.port,
        framer=FramerType.RTU,
        timeout=TIMEOUT_MS / 1000,
        retries=0,
        reconnect_delay=0,
    )
    await client.connect()
    try:
        rtu_bench.meter.fault(LateAnswer(TIMEOUT_MS + 40), times=1)
        with pytest.raises(ModbusIOException):
            await client.read_input_registers(0x48, count=2, device_id=1)
        export = await client.read_input_registers(0x4A, count=2, device_id=1)
        assert not export.isError()
        assert tuple(export.registers) == IMPORT_WORDS  # wrong, and without an error
    finally:
        client.close()


@pytest.mark.parametrize("late_ms", [70, 90, 110, 130, 150, 190, 250])
async def test_a_late_answer_is_never_taken_for_the_next_one(bench: Bench, late_ms: int) -> None:
    line = bench.line(attempts=1)
    bench.meter.fault(LateAnswer(late_ms), times=1)
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, *IMPORT)
    for _ in range(4):
        with suppress(ModbusGarbled, ModbusTimeout):
            assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    await line.close()


async def test_a_late_answer_that_meets_the_new_connection_is_drained(rtu_bench: Bench) -> None:
    line = rtu_bench.line(attempts=1)
    rtu_bench.meter.fault(LateAnswer(TIMEOUT_MS + QUIET_MS // 2), times=1)
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, *IMPORT)
    assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    assert line.counters.stray_bytes == 9
    assert line.counters.garbled == 0
    await line.close()


async def test_a_late_answer_that_meets_the_next_request_is_refused(rtu_bench: Bench) -> None:
    line = rtu_bench.line(attempts=1)
    rtu_bench.meter.fault(LateAnswer(TIMEOUT_MS + QUIET_MS + 30), times=1)
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, *IMPORT)
    with pytest.raises(ModbusGarbled):
        await line.read_registers(1, *EXPORT)
    assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    await line.close()


async def test_a_late_answer_is_found_out_by_the_true_one_behind_it(rtu_bench: Bench) -> None:
    """The late one comes alone and fits the request in every respect: only what follows tells."""
    line = rtu_bench.line(attempts=1)
    rtu_bench.meter.fault(LateAnswer(TIMEOUT_MS + QUIET_MS + 20), times=1)
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, *IMPORT)
    rtu_bench.meter.fault(LateAnswer(QUIET_MS // 4), times=1)
    with pytest.raises(ModbusGarbled, match="9 more bytes came"):
        await line.read_registers(1, *EXPORT)
    assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    await line.close()


async def test_the_late_answer_of_another_meter_is_refused(rtu_bench: Bench) -> None:
    line = rtu_bench.line(attempts=1, quiet_ms=0)
    rtu_bench.meter.fault(LateAnswer(TIMEOUT_MS + 30), times=1)
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, *IMPORT)
    with pytest.raises(ModbusGarbled, match="unit 1 answered, not 2"):
        await line.read_registers(2, *IMPORT)
    await line.close()


async def test_the_answer_to_a_cancelled_request_is_nobodys(bench: Bench) -> None:
    line = bench.line(timeout_ms=500)
    bench.meter.fault(LateAnswer(80), times=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await line.read_registers(1, *IMPORT)
    assert await line.read_registers(1, *EXPORT) == EXPORT_WORDS
    await line.close()


# --- wrong answers --------------------------------------------------------------------------------

WRONG_ANSWERS: dict[str, tuple[Fault, type[LedgerError], int]] = {
    "silence": (NoAnswer(), ModbusTimeout, 3),
    "garbage": (GarbageAnswer(), ModbusGarbled, 3),
    "one register less": (ShortAnswer(), ModbusGarbled, 3),
    "another function": (WrongFunction(), ModbusGarbled, 3),
    "illegal function": (ExceptionAnswer(1), ModbusException, 1),
    "illegal address": (ExceptionAnswer(2), ModbusException, 1),
    "illegal value": (ExceptionAnswer(3), ModbusException, 1),
    "device failure": (ExceptionAnswer(4), MeterBusy, 3),
    "device busy": (ExceptionAnswer(6), MeterBusy, 3),
    "an exception of no standard": (ExceptionAnswer(99), ModbusException, 1),
    "gateway path unavailable": (ExceptionAnswer(10), MeterOffline, 1),
    "gateway target silent": (ExceptionAnswer(11), MeterOffline, 1),
}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
async def test_every_wrong_answer_is_named_with_its_place(bench: Bench, name: str) -> None:
    fault, error, tries = WRONG_ANSWERS[name]
    line = bench.line()
    bench.meter.fault(fault)
    with pytest.raises(error) as raised:
        await line.read(MeterOnLine(1, SDM))
    assert type(raised.value) is error
    place = f"127.0.0.1:{bench.simulated.port} unit 1 function 4 address 52 count 24"
    assert raised.value.where == place
    assert raised.value.hint
    assert line.counters.requests == tries
    bench.meter.clear()
    assert (await line.read(MeterOnLine(1, SDM))).import_wh == SHOWN.import_wh
    await line.close()


@pytest.mark.parametrize("name", [n for n, (_, _, tries) in WRONG_ANSWERS.items() if tries > 1])
async def test_a_passing_failure_costs_a_retry_and_no_reading(bench: Bench, name: str) -> None:
    line = bench.line()
    bench.meter.fault(WRONG_ANSWERS[name][0], times=2)
    reading = await line.read(MeterOnLine(1, SDM))
    assert (reading.import_wh, reading.export_wh) == SHOWN[:2]
    assert line.counters.requests == 3
    await line.close()


async def test_one_silent_meter_does_not_spoil_its_neighbours(bench: Bench) -> None:
    line = bench.line(attempts=1)
    bench.meter.fault(NoAnswer())
    silent, neighbour = MeterOnLine(1, SDM), MeterOnLine(2, SDM)
    for _ in range(3):
        with pytest.raises(ModbusTimeout):
            await line.read(silent)
        assert (await line.read(neighbour)).export_wh == SHOWN.export_wh
    await line.close()


async def test_a_unit_that_nobody_has_is_offline_or_silent(bench: Bench) -> None:
    line = bench.line(attempts=1)
    with pytest.raises(MeterOffline if bench.framer == "tcp" else ModbusTimeout):
        await line.read(MeterOnLine(77, SDM))
    await line.close()


async def test_energies_are_not_lost_with_a_power_that_cannot_be_read(bench: Bench) -> None:
    class NoPower:
        def reply(self, request: ReadRequest) -> Reply | None:
            if request.address == 0x5B14:
                return Reply(exception=2)
            return bench.simulated.meters[3].reply(request)

    server = ModbusServer("127.0.0.1", 0, bench.framer, NoPower())
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, bench.framer, pause_ms=0), CLOCK)
    reading = await line.read(MeterOnLine(3, ABB))
    assert (reading.import_wh, reading.export_wh, reading.power_w) == (2000, 7000, None)
    await line.close()
    await server.close()


# --- what the registers say -----------------------------------------------------------------------


async def test_a_glitch_or_a_reset_is_reported_as_it_was_read(bench: Bench) -> None:
    """Judging a register that went back is validation's work, on readings that say what was read."""
    line = bench.line()
    bench.meter.fault(GlitchZero(), times=1)
    meter = MeterOnLine(1, SDM)
    assert [(await line.read(meter)).import_wh for _ in range(2)] == [0, SHOWN.import_wh]
    bench.meter.reset()
    assert (await line.read(meter)).import_wh == 0
    await line.close()


async def test_a_replaced_meter_shows_by_its_serial_number(bench: Bench) -> None:
    line = bench.line()
    meter = MeterOnLine(1, SDM)
    bench.meter.replace("1001")
    assert (await line.read(meter, serial=True)).serial == "1001"
    bench.meter.replace("1002")
    reading = await line.read(meter, serial=True)
    assert (reading.serial, reading.import_wh) == ("1002", 0)
    await line.close()


async def test_a_meter_without_a_value_is_an_error_that_names_the_meter() -> None:
    class NotYet:
        def reply(self, request: ReadRequest) -> Reply:
            return Reply(registers=(0x7FC0, 0) * (request.count // 2))

    server = ModbusServer("127.0.0.1", 0, "tcp", NotYet())
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, pause_ms=0), CLOCK)
    with pytest.raises(ModbusNotANumber) as refused:
        await line.read(MeterOnLine(9, SDM))
    assert refused.value.where == f"127.0.0.1:{server.port} unit 9"
    await line.close()
    await server.close()


async def test_a_sunspec_map_that_moved_is_found_again() -> None:
    model = MODELS["sunspec-float"]

    class Moving:
        """SunS, a common model of `length`, a float meter with 2.0 Wh and 7.0 Wh, the end."""

        length = 66
        models = 213

        def reply(self, request: ReadRequest) -> Reply:
            words = [0x5375, 0x6E53, 1, self.length, *[0] * self.length]
            meter = [self.models, 124, *[0] * 124]
            meter[68], meter[60] = 0x4000, 0x40E0
            words += [*meter, 0xFFFF, 0]
            start = request.address - 50000
            if not 0 <= start <= len(words) - request.count:
                return Reply(exception=2)
            return Reply(registers=tuple(words[start : start + request.count]))

    device = Moving()
    server = ModbusServer("127.0.0.1", 0, "tcp", device)
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, pause_ms=0), CLOCK)
    meter = MeterOnLine(1, model)
    assert (await line.read(meter)).export_wh == 7
    device.length = 65
    with pytest.raises(WrongMeter):
        await line.read(meter)
    assert (await line.read(meter)).export_wh == 7
    device.models = 203
    with pytest.raises(WrongMeter):
        await line.read(meter)
    with pytest.raises(SunSpecMissing, match=r"models \[1, 203\]"):
        await line.read(meter)
    await line.close()
    await server.close()


# --- the connection -------------------------------------------------------------------------------


async def test_nobody_listening_is_unreachable_until_somebody_does(bench: Bench) -> None:
    port = bench.simulated.port
    line = bench.line(attempts=2)
    await bench.simulated.close()
    with pytest.raises(Unreachable) as raised:
        await line.read(MeterOnLine(1, SDM))
    assert f"127.0.0.1:{port}" in raised.value.where
    meters = bench.simulated.meters.values()
    async with Simulator([SimulatedLine(meters, framer=bench.framer, port=port)]):
        assert (await line.read(MeterOnLine(1, SDM))).import_wh == SHOWN.import_wh
        await line.close()


async def test_a_connection_closed_between_requests_is_made_anew(bench: Bench) -> None:
    line = bench.line(attempts=1)
    meter = MeterOnLine(1, SDM)
    await line.read(meter)
    await bench.simulated.close()
    await bench.simulated.start()  # on the same port
    await line.read(meter)
    await line.close()
    await line.read(meter)
    assert line.counters.connects == 3
    await line.close()


async def test_a_connection_closed_instead_of_an_answer_is_unreachable() -> None:
    class HangUp(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.close()

    async with serving(HangUp) as port:
        line = Line(LineSettings("127.0.0.1", port, quiet_ms=1, attempts=2), CLOCK)
        with pytest.raises(Unreachable, match="closed"):
            await line.read(MeterOnLine(1, SDM))
        assert line.counters.connects == 2
        await line.close()


async def test_another_masters_answers_are_not_ours(rtu_bench: Bench) -> None:
    """A converter shows every connection what it hears on the wire."""
    ours, theirs = rtu_bench.line(), rtu_bench.line()
    for _ in range(3):
        assert await theirs.read_registers(2, *EXPORT) == EXPORT_WORDS
        assert await ours.read_registers(1, *IMPORT) == IMPORT_WORDS
    assert ours.counters.stray_bytes > 0
    assert ours.counters.connects == 3
    await ours.close()
    await theirs.close()


async def test_a_line_that_never_falls_silent_is_given_up_in_bounded_time() -> None:
    class Babbler(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            self.babble()

        def babble(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"\x07")
                asyncio.get_running_loop().call_later(0.004, self.babble)

    async with serving(Babbler) as port:
        settings = LineSettings("127.0.0.1", port, "rtu", pause_ms=0, timeout_ms=50, quiet_ms=20, attempts=2)
        line = Line(settings, CLOCK)
        async with asyncio.timeout(2):
            with pytest.raises(ModbusGarbled):
                await line.read(MeterOnLine(1, SDM))
        await line.close()


@pytest.mark.parametrize("framer", BOTH)
async def test_an_answer_may_come_in_pieces(framer: FramerName) -> None:
    """Converters cut the serial stream where they like."""
    meter = SimulatedMeter(1, SDM, Still(), CLOCK)

    class Pieces(ModbusServer):
        def _send(self, asker: asyncio.Transport, frame: bytes) -> None:
            for place in range(len(frame)):
                piece = frame[place : place + 1]
                asyncio.get_running_loop().call_later(place / 5000, asker.write, piece)

    line_of_one = SimulatedLine([meter], framer=framer)
    server = Pieces("127.0.0.1", 0, framer, line_of_one)
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, framer, pause_ms=0), CLOCK)
    for _ in range(3):
        assert (await line.read(MeterOnLine(1, SDM))).import_wh == SHOWN.import_wh
    assert line.counters.requests == 3
    await line.close()
    await server.close()


class Courtesy:
    """Notes when requests come and how many are under way."""

    def __init__(self, meter: SimulatedMeter) -> None:
        self.meter = meter
        self.times: list[float] = []

    def reply(self, request: ReadRequest) -> Reply | None:
        self.times.append(asyncio.get_running_loop().time())
        return self.meter.reply(request)

    def gaps(self) -> Iterator[float]:
        for earlier, later in pairwise(self.times):
            yield later - earlier


@pytest.mark.parametrize("framer", BOTH)
async def test_requests_wait_for_one_another_and_pause_between(framer: FramerName) -> None:
    meter = SimulatedMeter(1, SDM, Still(), CLOCK)
    meter.fault(LateAnswer(10))
    courtesy = Courtesy(meter)
    server = ModbusServer("127.0.0.1", 0, framer, courtesy)
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, framer, pause_ms=50), CLOCK)
    on_line = MeterOnLine(1, SDM)
    async with asyncio.TaskGroup() as readers:
        for _ in range(4):
            readers.create_task(line.read(on_line))
    assert len(courtesy.times) == 4
    assert min(courtesy.gaps()) >= timedelta(milliseconds=59).total_seconds()
    await line.close()
    await server.close()
