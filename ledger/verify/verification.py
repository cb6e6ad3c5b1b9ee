"""From a file to a report: the steps that `ledger.verify` tells, for a book or for a meter's extract."""

from pathlib import Path

from ledger.book_file import Header, HeaderLine, check_canonical, parse_line
from ledger.canonical import Malformed, NotCanonical
from ledger.note import Verifier
from ledger.verify.audit import Audit
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.chunks import BookLines, FileCut, workers_for
from ledger.verify.extract import ExtractAudit
from ledger.verify.report import (
    FINDINGS_KEPT,
    FINDINGS_KEPT_WHEN_ALL,
    FORM,
    PROOF_STEPS,
    STEPS,
    Findings,
    Place,
    Progress,
    Report,
    Stopped,
)
from ledger.verify.state import words


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def verify_file(
    path: Path,
    log_key: str = "",
    *,
    until_first: bool = False,
    keep_all: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Report:
    """Verify the book or extract in `path`.

    `log_key` is the C2SP verifier key that the auditor trusts. `until_first` stops at the first thing that
    proves the file wrong, `keep_all` keeps 10,000 findings a step instead of 10. `workers` is the number of
    processes, 0 for as many as are worth it. Raises `NoBookFile`, and `NoteError` for a `log_key` that is
    none; whatever is wrong with the file's content is in the report.
    """
    pinned = Verifier.parse(log_key) if log_key else None
    findings = Findings(until_first=until_first, keep=FINDINGS_KEPT_WHEN_ALL if keep_all else FINDINGS_KEPT)
    with BookLines(path) as book:
        try:
            header = _read_header(book, findings)
        except Stopped:
            header = None
        if header is None:
            return _unreadable(path, findings)
        check = CheckpointCheck(header, pinned, findings)
        audit: Audit | ExtractAudit
        if header.scope == "community":
            audit = Audit(book, header, check, findings, workers_for(path, workers))
        else:
            audit = ExtractAudit(book, header, check, findings)
        try:
            audit.run(progress)
        except Stopped:
            for step in STEPS:
                findings.leave(step, "stopped at the first thing that is wrong")
        return _report(path, header, check, audit, findings)


def _read_header(book: BookLines, findings: Findings) -> Header | None:
    try:
        data = book.next_line().removesuffix(b"\n")
        line = parse_line(data)
        check_canonical(line, data)
    except (FileCut, Malformed, NotCanonical) as error:
        findings.add(FORM, f"this is no header of a book: {words(error)}", Place(1))
        return None
    if isinstance(line, HeaderLine):
        of_meter = line.book.meter is not None
        if (line.book.scope == "meter") == of_meter == (line.book.events is not None):
            return line.book
    findings.add(FORM, "the file does not begin with the header of a book", Place(1))
    return None


def _unreadable(path: Path, findings: Findings) -> Report:
    for step in STEPS:
        findings.leave(step, "without its header nothing can be said of the rest")
    return Report(
        file=str(path),
        community="",
        scope="",
        events=0,
        size=0,
        root="",
        log_key="",
        pinned=False,
        verified=False,
        verdicts=[findings.verdict(step, "") for step in STEPS],
        notes=[],
    )


def _report(
    path: Path, header: Header, check: CheckpointCheck, audit: Audit | ExtractAudit, findings: Findings
) -> Report:
    verdicts = [findings.verdict(step, audit.summaries[step]) for step in STEPS]
    needed = [step for step in PROOF_STEPS if step not in audit.not_applicable]
    return Report(
        file=str(path),
        community=header.community,
        scope=header.scope,
        events=audit.events,
        size=check.checkpoint.size if check.checkpoint else header.size,
        root=check.checkpoint.root.hex() if check.checkpoint else "",
        log_key=check.log_key,
        pinned=check.is_pinned,
        verified=all(verdict.status == "pass" for verdict in verdicts if verdict.step in needed),
        verdicts=verdicts,
        notes=[*check.notes, *audit.notes],
    )
