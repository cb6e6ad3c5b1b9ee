"""A line: the meters behind one converter or one Modbus TCP port, asked one at a time.

How a reply can never be taken for the answer to another request:

1. One request at a time, `pause_ms` apart.
2. A reply must fit its request in every respect (`frames.py`), and be alone.
3. After a time-out, a misfit or a cancellation the connection is closed and made anew.
4. A serial converter sends what it hears to whoever is connected, so on an RTU line the new
   connection is first listened to until it has been silent for `quiet_ms`, and
5. the first answer after that is believed only when the line stays silent for `quiet_ms` again: if
   it was the late one, the true one follows it, and both are thrown away.
6. Bytes that arrive between requests make the connection suspect; back to 3.

What RTU leaves open: an answer later than `timeout_ms` and `quiet_ms` together that meets a request
for as many registers of the same unit, which the meter itself did not hear. The energies of a model
have a block length of their own, so such an answer can pass for a power or a serial number only.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ingest.meter_model import MeterModel
from ingest.meter_reading import (
    NO_FACTORS,
    Block,
    Reading,
    RegisterUnusable,
    decode,
    decode_serial,
    plan_blocks,
)
from ingest.modbus.connection import Answer, Connection
from ingest.modbus.errors import (
    MeterBusy,
    ModbusException,
    ModbusGarbled,
    ModbusTimeout,
    Unreachable,
    refusal,
)
from ingest.modbus.frames import (
    FRAMINGS,
    TRANSACTIONS,
    FramerName,
    Malformed,
    ReadRequest,
    Refusal,
)
from ingest.modbus.sunspec import SunSpecPlace, locate
from ledger.clock import Clock
from ledger.errors import BadInput, LedgerError

Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
QUIET_LIMIT = 10  # a line that chatters for ten quiet times will not fall silent
NOT_SUNSPEC = SunSpecPlace(model=0, common=0)


class LineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a line is and how patiently it is asked."""

    host: str
    port: Annotated[int, Meta(ge=1, le=0xFFFF)] = 502
    framer: FramerName = "tcp"
    pause_ms: Milliseconds = 75
    timeout_ms: Annotated[int, Meta(ge=1, le=600_000)] = 1000
    connect_timeout_ms: Annotated[int, Meta(ge=1, le=600_000)] = 3000
    quiet_ms: Milliseconds = 250
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3


@dataclass(frozen=True, slots=True)
class MeterOnLine:
    """A meter as configured: its unit, its model, and factors known better than the meter does.

    Raises:
        BadInput: `factors` names one the model does not have, or a ratio below 1.
    """

    unit: int
    model: MeterModel
    factors: Mapping[str, int] = field(default_factory=lambda: NO_FACTORS)
    plan: tuple[Block, ...] = field(init=False)

    def __post_init__(self) -> None:
        known = {factor.name for factor in self.model.factors if factor.means == "multiplier"}
        for name, ratio in self.factors.items():
            if name not in known or ratio < 1:
                raise BadInput(
                    f"{name} = {ratio} is not a transformer ratio of this model",
                    where=f"unit {self.unit}, model {self.model.id}",
                    hint=f"the model's ratios: {', '.join(sorted(known)) or 'none'}",
                )
        object.__setattr__(self, "plan", plan_blocks(self.model, self.factors))


@dataclass(slots=True)
class LineCounters:
    """What happened on a line since it was made."""

    requests: int = 0
    timeouts: int = 0
    garbled: int = 0
    busy: int = 0
    connects: int = 0
    stray_bytes: int = 0


class Line:
    """Reads the meters of one line. Safe to use from many tasks; they wait for one another."""

    def __init__(self, settings: LineSettings, clock: Clock) -> None:
        self.settings = settings
        self.counters = LineCounters()
        self._clock = clock
        self._framing = FRAMINGS[settings.framer]()
        self._serial = settings.framer == "rtu"
        self._quiet_s = settings.quiet_ms / 1000
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._doubtful = False  # a late answer may still come
        self._free_at = 0.0  # on the loop's timer
        self._transaction = 0
        self._places: dict[tuple[int, str], SunSpecPlace] = {}

    async def read(self, meter: MeterOnLine, *, serial: bool = False) -> Reading:
        """One reading of `meter`, with its serial number when asked for.

        Raises:
            Unreachable, ModbusTimeout, ModbusGarbled, MeterBusy: after `attempts` tries.
            MeterOffline, ModbusException, SunSpecMissing: at once.
            RegisterUnusable: the meter answered, but not with energies.
        """
        place = await self._place(meter)
        try:
            words, read_at = await self._words(meter, place)
            reading = decode(meter.model, words, meter.factors)
        except ModbusException:
            self._forget_place(meter)
            raise
        except RegisterUnusable as error:
            self._forget_place(meter)
            where = self._where(meter.unit)
            raise type(error)(error.what, where=where, hint=error.hint) from None
        number = await self.read_serial(meter) if serial else None
        return msgspec.structs.replace(reading, read_at=read_at, serial=number)

    async def read_serial(self, meter: MeterOnLine) -> str | None:
        """The meter's serial number; None where model or meter have no register for it, or it is empty.

        Raises: as `read`, except ModbusException.
        """
        register = meter.model.serial
        if register is None:
            return None
        place = await self._place(meter)
        try:
            words = await self.read_registers(
                meter.unit, register.function, place.common + register.address, register.registers
            )
        except ModbusException:
            return None  # some meters of a family do without
        return decode_serial(register, words)

    async def read_registers(self, unit: int, function: int, address: int, count: int) -> tuple[int, ...]:
        """The registers as they stand in the meter.

        Raises: as `read`, except RegisterUnusable and SunSpecMissing.
        """
        request = ReadRequest(unit, function, address, count)
        async with self._lock:
            for _ in range(self.settings.attempts - 1):
                try:
                    return await self._ask(request)
                except (ModbusTimeout, ModbusGarbled):
                    continue
                except (MeterBusy, Unreachable):
                    await asyncio.sleep(self._quiet_s)
            return await self._ask(request)

    async def close(self) -> None:
        """Hang up. The line may be used again; it connects anew."""
        async with self._lock:
            self._drop(doubtful=False)

    async def _words(self, meter: MeterOnLine, place: SunSpecPlace) -> tuple[dict[int, int], datetime]:
        """Registers by the addresses of the model file, and when the energies had arrived."""
        words: dict[int, int] = {}
        read_at = self._clock.now()
        for block in meter.plan:
            try:
                values = await self.read_registers(
                    meter.unit, block.function, place.model + block.address, block.count
                )
            except LedgerError:
                if not block.optional:
                    raise
                continue  # power is worth having, but no reason to lose the energies
            if not block.optional:
                read_at = self._clock.now()
            words.update(zip(range(block.address, block.address + block.count), values, strict=True))
        return words, read_at

    async def _place(self, meter: MeterOnLine) -> SunSpecPlace:
        """Where the addresses of a SunSpec model start; found once, and again after a refusal."""
        if not meter.model.sunspec:
            return NOT_SUNSPEC
        key = (meter.unit, meter.model.id)
        if key not in self._places:
            self._places[key] = await locate(
                lambda function, address, count: self.read_registers(meter.unit, function, address, count),
                meter.model.sunspec,
                self._where(meter.unit),
            )
        return self._places[key]

    def _forget_place(self, meter: MeterOnLine) -> None:
        self._places.pop((meter.unit, meter.model.id), None)

    async def _ask(self, request: ReadRequest) -> tuple[int, ...]:
        """One try. Every failure is named, and leaves no connection on which a reply may come."""
        try:
            answer = await self._exchange(request)
        except TimeoutError:
            self.counters.timeouts += 1
            raise ModbusTimeout(
                f"no answer within {self.settings.timeout_ms} ms",
                where=self._where(request.unit, request),
                hint="check unit address, wiring and baud rate; a slow line needs a longer time-out",
            ) from None
        except Malformed as error:
            self.counters.garbled += 1
            raise ModbusGarbled(
                f"the answer was refused: {error}",
                where=self._where(request.unit, request),
                hint="a second master on the line, noise, or a late answer; the line was emptied",
            ) from None
        except OSError as error:
            raise Unreachable(
                f"no connection: {error}",
                where=self._where(request.unit, request),
                hint="check the address, the network, and that nobody else holds the connection",
            ) from None
        if isinstance(answer, Refusal):
            refused = refusal(answer.code, self._where(request.unit, request))
            self.counters.busy += isinstance(refused, MeterBusy)
            raise refused
        return answer

    async def _exchange(self, request: ReadRequest) -> Answer:
        """Pause, connect where needed, ask; and confirm the answer on a line in doubt."""
        loop = asyncio.get_running_loop()
        if (wait_s := self._free_at - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        self._transaction = self._transaction % TRANSACTIONS + 1
        self.counters.requests += 1
        try:
            connection = await self._connected()
            answer = await connection.exchange(request, self._transaction, self.settings.timeout_ms / 1000)
            if self._doubtful:
                await self._confirm(connection)
        except BaseException:  # a cancelled request has an answer under way as well
            self._drop(doubtful=True)
            raise
        finally:
            self._free_at = loop.time() + self.settings.pause_ms / 1000
        return answer

    async def _connected(self) -> Connection:
        """The open connection, or a new one, emptied first where a late answer may come."""
        if self._connection is not None:
            strays = self._connection.strays
            if not strays and not self._connection.lost:
                return self._connection
            self.counters.stray_bytes += strays
            self._drop(doubtful=bool(strays))
        settings = self.settings
        self.counters.connects += 1
        try:
            async with asyncio.timeout(settings.connect_timeout_ms / 1000):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._framing), settings.host, settings.port
                )
        except TimeoutError:
            raise OSError(f"nobody answered within {settings.connect_timeout_ms} ms") from None
        self._connection = connection
        if self._doubtful:
            self.counters.stray_bytes += await connection.silence(self._quiet_s, self._quiet_s * QUIET_LIMIT)
        return connection

    async def _confirm(self, connection: Connection) -> None:
        strays = await connection.silence(self._quiet_s, self._quiet_s * QUIET_LIMIT)
        if strays:
            self.counters.stray_bytes += strays
            raise Malformed(f"{strays} more bytes came: one of the answers was a late one")
        self._doubtful = False

    def _drop(self, *, doubtful: bool) -> None:
        # Modbus TCP numbers its transactions, and never twice on this line: nothing to doubt.
        self._doubtful = (self._doubtful or doubtful) and self._serial
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _where(self, unit: int, request: ReadRequest | None = None) -> str:
        place = f"{self.settings.host}:{self.settings.port} unit {unit}"
        if request is None:
            return place
        return f"{place} function {request.function} address {request.address} count {request.count}"
