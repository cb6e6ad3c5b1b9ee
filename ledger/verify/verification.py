"""From a file to a report: the steps that `ledger.verify` tells, for a book or for a meter's extract."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ledger.book_file import Header
from ledger.cosignature import witness_key
from ledger.note import Verifier
from ledger.verify.audit import Audit
from ledger.verify.checkpoint import CheckpointCheck
from ledger.verify.chunks import workers_for
from ledger.verify.community import CommunityAudit
from ledger.verify.extract import ExtractAudit
from ledger.verify.further import FurtherStep, NotJudged, Proven
from ledger.verify.header import read_header
from ledger.verify.lines import BookLines, FileCut
from ledger.verify.report import (
    FINDINGS_KEPT,
    FINDINGS_KEPT_WHEN_ALL,
    PROOF_STEPS,
    STEPS,
    Findings,
    Progress,
    Report,
    Stopped,
)


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
    further: Sequence[FurtherStep] = (),
    witnesses: Sequence[str] = (),
) -> Report:
    """Verify the book or extract in `path`.

    `log_key` is the C2SP verifier key that the auditor trusts. `until_first` stops at the first thing that
    proves the file wrong, `keep_all` keeps 10,000 findings a step instead of 10. `workers` is the number of
    processes, 0 for as many as are worth it. `further` steps are run on a whole book. `witnesses` are
    the keys of those who must have cosigned the checkpoint. Raises `NoBookFile`, and `NoteError` for a
    `log_key` or a witness's key that is none; whatever is wrong with the file's content is in the report.
    """
    pinned = Verifier.parse(log_key) if log_key else None
    trusted = [witness_key(each) for each in witnesses]
    findings = Findings(
        until_first=until_first,
        keep=FINDINGS_KEPT_WHEN_ALL if keep_all else FINDINGS_KEPT,
        further={step.number: step.name for step in further},
    )
    with BookLines(path) as book:
        try:
            header = read_header(book, findings)
        except Stopped:
            header = None
        if header is None:
            return _unreadable(path, findings)
        check = CheckpointCheck(header, pinned, findings, trusted)
        audit: Audit
        if header.scope == "community":
            audit = CommunityAudit(book, header, check, findings, workers_for(path, workers))
        else:
            audit = ExtractAudit(book, header, check, findings)
        notes = []
        summaries = {}
        try:
            audit.run(progress)
            summaries = _go_further(
                Proven(path, header.community, header.size), header, findings, further, progress
            )
        except Stopped as stopped:
            findings.leave(str(stopped), *findings.names)
            notes = [str(stopped)]
        return _report(path, header, check, audit, findings, summaries, notes)


def _go_further(
    book: Proven, header: Header, findings: Findings, further: Sequence[FurtherStep], progress: Progress
) -> dict[int, str]:
    """Run the steps of others, where they can lean on what was proven; what each has checked."""
    summaries = {}
    for step in further:
        if header.scope != "community":
            findings.leave("one meter does not show it; it is checked with the whole book", step.number)
        elif not findings.are_proven(PROOF_STEPS):
            findings.leave("it is judged when all that proves has passed", step.number)
        else:
            try:
                summaries[step.number] = step.run(book, partial(findings.add, step.number), progress)
            except (NotJudged, FileCut) as error:
                findings.leave(str(error), step.number)
    return summaries


def _unreadable(path: Path, findings: Findings) -> Report:
    findings.leave("without its header nothing can be said of the rest", *findings.names)
    return Report(
        file=str(path),
        community="",
        scope="",
        meter="",
        readings=0,
        events=0,
        size=0,
        root="",
        log_key="",
        pinned=False,
        verified=False,
        verdicts=[findings.verdict(step, "") for step in findings.names],
        notes=[],
    )


def _report(
    path: Path,
    header: Header,
    check: CheckpointCheck,
    audit: Audit,
    findings: Findings,
    summaries: dict[int, str],
    notes: list[str],
) -> Report:
    summaries = audit.summaries | summaries
    verdicts = [findings.verdict(step, summaries.get(step, "")) for step in findings.names]
    needed = [step for step in PROOF_STEPS if step not in audit.not_applicable]
    if header.scope == "community":
        needed += [step for step in findings.names if step not in STEPS]
    return Report(
        file=str(path),
        community=header.community,
        scope=header.scope,
        meter=header.meter or "",
        readings=audit.readings,
        events=audit.events,
        size=check.checkpoint.size if check.checkpoint else header.size,
        root=check.checkpoint.root.hex() if check.checkpoint else "",
        log_key=check.log_key,
        pinned=check.is_pinned,
        verified=all(verdict.status == "pass" for verdict in verdicts if verdict.step in needed),
        verdicts=verdicts,
        notes=[*notes, *check.notes, *audit.notes],
    )
