"""Simulated lines: ports with meters behind them."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from ingest.modbus import FramerName, ModbusServer, ReadRequest, Reply
from ingest.simulator.meter import SimulatedMeter
from ledger.errors import BadInput

GATEWAY_TARGET_FAILED = 11


class UnitTaken(BadInput):
    """Two meters on a line have the same unit address."""

    code = "unit-taken"


class SimulatedLine:
    """Several meters behind one port; port 0 lets the system choose, `port` tells which.

    A unit that nobody has is answered as on a real one: with exception 11 by a Modbus TCP gateway,
    with silence by a serial converter.
    """

    def __init__(
        self,
        meters: Iterable[SimulatedMeter],
        *,
        framer: FramerName = "tcp",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.framer: FramerName = framer
        self.meters: dict[int, SimulatedMeter] = {}
        for meter in meters:
            if meter.unit in self.meters:
                raise UnitTaken(
                    f"unit {meter.unit} is there twice",
                    where=f"{host}:{port}",
                    hint="give every meter of a line a unit of its own",
                )
            self.meters[meter.unit] = meter
        self._server = ModbusServer(host, port, framer, self)

    @property
    def port(self) -> int:
        return self._server.port

    def reply(self, request: ReadRequest) -> Reply | None:
        meter = self.meters.get(request.unit)
        if meter is None:
            return Reply(exception=GATEWAY_TARGET_FAILED) if self.framer == "tcp" else None
        return meter.reply(request)

    async def start(self) -> None:
        """Open the port; `PortUnavailable` when it is taken."""
        await self._server.start()

    async def close(self) -> None:
        """Close the port and its connections."""
        await self._server.close()


class Simulator:
    """Some lines, opened and closed together: `async with Simulator(lines): ..`."""

    def __init__(self, lines: Sequence[SimulatedLine]) -> None:
        self.lines = lines

    async def start(self) -> None:
        """Open every port; when one is taken, none stays open."""
        try:
            for line in self.lines:
                await line.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every port."""
        for line in self.lines:
            await line.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
