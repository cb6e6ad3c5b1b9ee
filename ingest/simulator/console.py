"""`energy-ledger simulate` at work: serves a file's meters, and does what standard input says to them."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from threading import Thread

import msgspec
from rich.console import Console

from ingest.meter_model import load_models
from ingest.simulator import Simulator, load_simulation
from ingest.simulator.plan import EXAMPLE
from ledger.clock import SystemClock
from ledger.errors import BadInput, LedgerError


async def run_simulation(file: Path | None, *, folder: Path | None, as_json: bool) -> None:
    """`simulate`, of the example without a file. Raises as `load_simulation` and `Simulator.start`."""
    simulator = load_simulation(file or EXAMPLE, load_models(folder), SystemClock())
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the loop by itself
            loop.add_signal_handler(number, stop.set)
    async with simulator:
        if as_json:
            opened = [
                {"host": line.host, "port": line.port, "units": sorted(line.meters)}
                for line in simulator.lines
            ]
            sys.stdout.write(msgspec.json.encode(opened).decode() + "\n")
            sys.stdout.flush()
        else:
            _show(simulator)
        Thread(target=_obey, args=(simulator, loop), daemon=True).start()
        await stop.wait()
    sys.stderr.write("stopped\n")


def obey(simulator: Simulator, text: str) -> None:
    """Carry out `<port> <unit> <what>`.

    Raises:
        BadInput: not of that form, or no such meter. CommandUnknown.
    """
    port, _, rest = text.strip().partition(" ")
    unit, _, what = rest.partition(" ")
    for line in simulator.lines:
        if str(line.port) == port and unit.isdecimal() and int(unit) in line.meters:
            line.meters[int(unit)].command(what)
            return
    raise BadInput(f"{text.strip()!r} names no meter", where="console", hint="write <port> <unit> <what>")


def _obey(simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
    for text in sys.stdin:
        if text.strip():
            loop.call_soon_threadsafe(_obey_aloud, simulator, text)


def _obey_aloud(simulator: Simulator, text: str) -> None:
    try:
        obey(simulator, text)
    except LedgerError as error:
        sys.stderr.write(error.diagnostics() + "\n")


def _show(simulator: Simulator) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in simulator.lines:
        units = ", ".join(f"{unit} ({line.meters[unit].model.id})" for unit in sorted(line.meters))
        console.print(f"{line.host}:{line.port} framer {line.framer}: units {units}")
    first = simulator.lines[0]
    example = f"{first.port} {min(first.meters)} timeout"
    console.print(f"Ctrl-C stops it; a line such as `{example}` spoils a meter, see `simulate --help`")
