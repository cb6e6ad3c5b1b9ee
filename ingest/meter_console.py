"""The installer's commands at work: settings in, tables or JSON out."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest.meter_examination import Examination, MeterDoubtful, examine
from ingest.meter_model import find_model, load_models
from ingest.meter_scan import Scan, parse_units, scan_line
from ingest.modbus import FramerName, Line, LineSettings, MeterOnLine
from ingest.simulator import Simulator, load_simulation
from ledger.clock import SystemClock
from ledger.errors import BadInput, LedgerError

SCAN_QUIET_MS = 100
MARKS = {"good": "[green]ok[/]", "hint": "[yellow]note[/]", "problem": "[red]problem[/]"}


async def run_scan(
    host: str,
    *,
    port: int,
    framer: FramerName,
    units: str,
    timeout_ms: int,
    seconds_max: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """`meter scan`. Raises as `scan_line` and `load_models`."""
    known = load_models(folder)
    wanted = parse_units(units)
    settings = _settings(
        host=host,
        port=port,
        framer=framer,
        timeout_ms=timeout_ms,
        pause_ms=20,
        quiet_ms=SCAN_QUIET_MS,
        attempts=1,
    )
    line = Line(settings, SystemClock())
    console = Console(stderr=True)
    columns = (TextColumn("unit {task.fields[unit]}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("scan", total=len(wanted), unit=wanted[0])

        def on_unit(unit: int) -> None:
            progress.update(task, completed=wanted.index(unit), unit=unit)

        try:
            result = await scan_line(line, wanted, known, seconds_max=seconds_max, on_unit=on_unit)
        finally:
            await line.close()
    if as_json:
        _print_json(result)
    else:
        _show_scan(result)


async def run_test(
    host: str,
    model: str,
    *,
    unit: int,
    port: int,
    framer: FramerName,
    ratios: Sequence[str],
    times: int,
    interval_ms: int,
    timeout_ms: int,
    pause_ms: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """`meter test`. Raises as `examine`, and MeterDoubtful when a problem was found."""
    meter = MeterOnLine(unit, find_model(load_models(folder), model), _ratios(ratios))
    settings = _settings(host=host, port=port, framer=framer, timeout_ms=timeout_ms, pause_ms=pause_ms)
    line = Line(settings, SystemClock())
    try:
        examination = await examine(line, meter, times=max(times, 1), interval_s=max(interval_ms, 0) / 1000)
    finally:
        await line.close()
    if as_json:
        _print_json(examination)
    else:
        _show_examination(examination)
    if examination.problem is not None:
        raise MeterDoubtful(
            examination.problem,
            where=f"{host}:{port} unit {unit} model {model}",
            hint="put it right and test again before the meter is enrolled",
        )


def _table(first: str, *columns: str) -> Table:
    """A table that fits 80 columns; its first column is what people type again, so it is never cut."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show_models(folder: Path | None, *, as_json: bool) -> None:
    """`meter models`. Raises as `load_models`."""
    known = load_models(folder)
    if as_json:
        _print_json([known[name] for name in sorted(known)])
        return
    table = _table("model", "meters", "function", "import", "export", "power", "serial", "sources")
    for name in sorted(known):
        model = known[name]
        registers = model.registers
        cells = [
            f"{register.address:#06x} {register.type}" if register else "-"
            for register in (registers.import_, registers.export, registers.power)
        ]
        meters = f"{model.maker} {', '.join(model.meters)}"
        serial = "yes" if model.serial else "no"
        table.add_row(name, meters, str(model.function), *cells, serial, str(model.source.confidence))
    console = Console()
    console.print(table)
    console.print("Sources: how many independent ones agree on the energies, and which.")
    for name in sorted(known):
        console.print(f"  {name}: {known[name].source.note}", highlight=False)


async def run_simulation(file: Path, *, folder: Path | None, as_json: bool) -> None:
    """`simulate`. Raises as `load_simulation` and `Simulator.start`."""
    simulator = load_simulation(file, load_models(folder), SystemClock())
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the loop by itself
            loop.add_signal_handler(number, stop.set)
    async with simulator:
        if as_json:
            _print_json(
                [
                    {"host": line.host, "port": line.port, "units": sorted(line.meters)}
                    for line in simulator.lines
                ]
            )
        else:
            _show_simulation(simulator)
        Thread(target=_obey, args=(simulator, loop), daemon=True).start()
        await stop.wait()


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


def _settings(**values: Any) -> LineSettings:
    try:
        return msgspec.convert(values, LineSettings)
    except msgspec.ValidationError as error:
        raise BadInput(str(error), where="line", hint="see --help for the ranges") from None


def _ratios(texts: Iterable[str]) -> dict[str, int]:
    ratios = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value.isdecimal():
            raise BadInput(f"{text!r} is no ratio", where="ratio", hint="write ct=40")
        ratios[name] = int(value)
    return ratios


def _show_scan(result: Scan) -> None:
    console = Console()
    if result.found:
        table = _table("unit", "model", "serial", "import", "export", "power", "remark")
        for found in result.found:
            for fit in found.fits:
                reading = fit.reading
                table.add_row(
                    str(found.unit),
                    " or ".join(fit.models),
                    reading.serial or "-",
                    f"{reading.import_wh} Wh",
                    f"{reading.export_wh} Wh",
                    "-" if reading.power_w is None else f"{reading.power_w} W",
                    fit.remark,
                )
            if not found.fits:
                table.add_row(str(found.unit), "no known model fits", *["-"] * 4, "answers")
        console.print(table)
    console.print(f"{len(result.found)} units answer, {len(result.silent)} are silent")
    if result.unasked:
        console.print(f"no time was left for units {result.unasked[0]} to {result.unasked[-1]}")


def _show_examination(examination: Examination) -> None:
    console = Console()
    table = Table("reading", "raw registers", "import", "export", "power", "took")
    for turn, sample in enumerate(examination.samples, start=1):
        reading = sample.reading
        took = f"{sample.took_ms} ms"
        if reading is None:
            table.add_row(str(turn), f"[red]{sample.error}[/]", "-", "-", "-", took)
            continue
        power = "-" if reading.power_w is None else f"{reading.power_w} W"
        table.add_row(
            str(turn), reading.raw, f"{reading.import_wh} Wh", f"{reading.export_wh} Wh", power, took
        )
    console.print(table)
    for finding in examination.findings:
        console.print(f"{MARKS[finding.level]:>8}  {finding.text}")


def _show_simulation(simulator: Simulator) -> None:
    console = Console()
    for line in simulator.lines:
        units = ", ".join(f"{unit} ({line.meters[unit].model.id})" for unit in sorted(line.meters))
        console.print(f"{line.host}:{line.port} {line.framer}: units {units}")


def _print_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    sys.stdout.flush()
