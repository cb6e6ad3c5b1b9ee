"""`energy-ledger verify` at work: a progress bar, the verdicts, an exit code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from ledger.clock import monotonic_seconds
from ledger.errors import Damaged
from ledger.verify import Finding, FurtherStep, Report, Verdict, verify_file
from ledger.verify.report import Progress as Told
from ledger.verify.report import Status, counted

_STYLES = {"pass": "green", "fail": "bold red", "warnings": "yellow", "not checked": "yellow"}
_ASK_AGAIN = "ask for a new export; if it shows the same, the book itself was changed"
_NOT_CHECKED = "nothing was found to be wrong as far as was looked; this step says why it went no further"


class NotVerified(Damaged):
    """The file does not prove what it says."""

    code = "not-verified"


class Implausible(Damaged):
    """The file is authentic, and its readings cannot all be right."""

    code = "implausible"


def run_verify(
    path: Path,
    log_key: str,
    *,
    as_json: bool,
    until_first: bool,
    show_all: bool,
    strict: bool,
    workers: int,
    further: Sequence[FurtherStep] = (),
    witnesses: Sequence[str] = (),
) -> None:
    """Verify, print, and raise `NotVerified` or, when `strict`, `Implausible`. Raises as `verify_file`."""
    begin = monotonic_seconds()
    with shown_progress("verifying") as told:
        report = verify_file(
            path,
            log_key,
            until_first=until_first,
            keep_all=show_all,
            workers=workers,
            progress=told,
            further=further,
            witnesses=witnesses,
        )
    out = Console(highlight=False, soft_wrap=True)
    if as_json:
        out.file.write(msgspec.json.format(msgspec.json.encode(report)).decode())
        out.file.write("\n")
    else:
        _show(out, report, monotonic_seconds() - begin, show_all=show_all)
    _judge(report, strict=strict)


@contextmanager
def shown_progress(what: str) -> Iterator[Told]:
    """A progress bar of events on standard error, if a person looks at it."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(what, *columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield told


class _Rate(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.speed or 0):,} events/s")


def _show(out: Console, report: Report, seconds: float, *, show_all: bool) -> None:
    out.print(f"{report.file}: {_head(report, seconds)}", markup=False)
    for verdict in report.verdicts:
        style = _STYLES[verdict.status]
        out.print(f"{verdict.step} {verdict.name:<20} [{style}]{verdict.status:<11}[/] ", end="")
        out.print(_told(verdict), markup=False)
        for finding in verdict.findings[: None if show_all else 0]:
            out.print(f"    {_place(finding)}{finding.what}", markup=False)
    if report.root:
        out.print(f"root {report.root} over {report.size:,} entries")
    for note in report.notes:
        out.print(f"note: {note}", markup=False)
    out.print("[bold green]verified[/]" if report.verified else "[bold red]not verified[/]")


def _head(report: Report, seconds: float) -> str:
    """Whose file it is and how much was read."""
    rate = int(report.events // seconds) if seconds else 0
    events = f"{counted(report.events, 'event')}, {rate:,} events/s"
    if not report.community:
        return "its header cannot be read"
    if report.meter:
        readings = counted(report.readings, "reading")
        return f"meter {report.meter} of community {report.community}, {readings} among {events}"
    return f"community {report.community}, {events}"


def _told(verdict: Verdict) -> str:
    if not verdict.findings:
        return verdict.summary
    more = f" (and {verdict.found - 1:,} more)" if verdict.found > 1 else ""
    return f"{_place(verdict.findings[0])}{verdict.findings[0].what}{more}"


def _place(finding: Finding) -> str:
    return f"{finding.where}: " if finding.where else ""


def _judge(report: Report, *, strict: bool) -> None:
    if not report.verified:
        worst = (_having(report, "fail") or _having(report, "not checked"))[0]
        findings = worst.findings or [Finding(worst.summary, hint=_NOT_CHECKED)]
        raise NotVerified(
            f"step {worst.step}, {worst.name}: {findings[0].what}",
            where=findings[0].where,
            hint=next((each.hint for each in findings if each.hint), _ASK_AGAIN),
        )
    implausible = _having(report, "warnings")
    if strict and implausible:
        finding = implausible[0].findings[0]
        raise Implausible(finding.what, where=finding.where, hint="ask the operator about this meter")


def _having(report: Report, status: Status) -> list[Verdict]:
    return [verdict for verdict in report.verdicts if verdict.status == status]
