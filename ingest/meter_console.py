"""The installer's commands at work: settings in, tables or JSON out."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest.meter_examination import Examination, MeterDoubtful, examine
from ingest.meter_model import MeterModel, find_model, load_models
from ingest.meter_probe import Sighting, advice, look_around, other_framer, places_around
from ingest.meter_scan import SILENT_PROBES, Scan, parse_units, probes_of, scan_line
from ingest.modbus import FramerName, Line, LineSettings, MeterOnLine, Unreachable
from ledger.clock import SystemClock
from ledger.errors import BadInput, LedgerError
from ledger.words import counted

SCAN_QUIET_MS = 100
SCAN_UNITS_AROUND = 8
"""How many of a scan's units are asked with the other framer when none answered."""

TYPED = ("unit", "model")
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
    result = await _scanned(settings, wanted, known, seconds_max)
    if as_json:
        _print_json(result)
    else:
        _show_scan(result)


async def _scanned(
    settings: LineSettings, wanted: Sequence[int], known: Mapping[str, MeterModel], seconds_max: int
) -> Scan:
    """The scan under a bar; with advice where nobody answered."""
    other = other_framer(settings.framer)
    around = ((settings.framer, wanted[0]), *((other, unit) for unit in wanted[:SCAN_UNITS_AROUND]))
    asked = [models[0] for models in probes_of(known.values())[:SILENT_PROBES]]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    line = Line(settings, SystemClock())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(wanted))

        def on_place(framer: FramerName, unit: int) -> None:
            what = f"asking {settings.host}:{settings.port} with framer {framer}, unit {unit}"
            progress.update(task, description=what)

        def on_unit(unit: int) -> None:
            progress.update(task, completed=wanted.index(unit))
            on_place(settings.framer, unit)

        try:
            result = await scan_line(line, wanted, known, seconds_max=seconds_max, on_unit=on_unit)
        except Unreachable as error:
            found = await look_around(settings, around, asked, SystemClock(), on_place)
            if found is None:
                raise
            raise _advised(error, advice((settings.framer, found.unit or 0), found)) from error
        finally:
            await line.close()
        if result.found:
            return result
        found = await look_around(settings, around, asked, SystemClock(), on_place)
        told = advice((settings.framer, (found and found.unit) or 0), found)
        return msgspec.structs.replace(result, advice=told)


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
    examination = await _examined(settings, meter, max(times, 1), max(interval_ms, 0) / 1000)
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


async def _examined(settings: LineSettings, meter: MeterOnLine, times: int, interval_s: float) -> Examination:
    """The examination, which at a terminal says what it tries; one of a silent line ends with advice."""
    place = f"{settings.host}:{settings.port}"
    asked = (settings.framer, meter.unit)
    line = Line(settings, SystemClock())
    with _telling() as tell:

        def on_turn(turn: int) -> None:
            tell(
                f"asking {place} with framer {settings.framer}, unit {meter.unit}, as {meter.model.id}:"
                f" reading {turn + 1} of {times}"
            )

        def on_place(framer: FramerName, unit: int) -> None:
            tell(f"no answer; asking {place} with framer {framer}, unit {unit}")

        async def on_silence(silence: LedgerError) -> None:
            around = places_around(*asked)
            found = await look_around(settings, around, [meter.model], SystemClock(), on_place)
            if found == Sighting(*asked):
                return  # it answers after all: a bad line, which is worth examining
            if found is None and isinstance(silence, Unreachable):
                raise silence
            raise _advised(silence, advice(asked, found))

        try:
            return await examine(
                line, meter, times=times, interval_s=interval_s, on_turn=on_turn, on_silence=on_silence
            )
        finally:
            await line.close()


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """A line at the terminal that says what is going on; nothing where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(escape(text))


def _advised(error: LedgerError, hint: str) -> LedgerError:
    """The same error with another hint."""
    return type(error)(error.what, where=error.where, hint=hint)


def _table(*columns: str) -> Table:
    """A table that fits 80 columns; what people type again is never cut."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in TYPED, overflow="fold")
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


def _settings(host: str, **values: Any) -> LineSettings:
    name, _, port = host.partition(":")
    if port.isdecimal():
        raise BadInput(f"{host!r} is a host and a port", where="host", hint=f"write {name} --port {port}")
    try:
        return msgspec.convert({"host": host, **values}, LineSettings)
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
    answering, silent = len(result.found), len(result.silent)
    verbs = "answers" if answering == 1 else "answer", "is" if silent == 1 else "are"
    console.print(f"{counted(answering, 'unit')} {verbs[0]}, {silent} {verbs[1]} silent")
    if result.unasked:
        console.print(f"no time was left for units {result.unasked[0]} to {result.unasked[-1]}")
    if result.advice:
        console.print(f"what to do: {result.advice}", highlight=False)


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


def _print_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    sys.stdout.flush()
