"""A site's book, exported and verified with its settlement."""

from pathlib import Path

from api.audit_commands import FURTHER
from ledger.export import export_community
from ledger.postgres.exporter import open_snapshot
from ledger.verify import Report, Verdict, verify_file
from tests.support.trading import Site

SETTLEMENT = -1


async def verified(site: Site, folder: Path) -> Report:
    """The report on the site's book as it is exported now."""
    path = folder / "book.jsonl"
    async with open_snapshot(site.store) as snapshot:
        await export_community(snapshot, "campus", path)
    report = verify_file(path, str(site.campus.verifier), further=FURTHER)
    assert all(verdict.status == "pass" for verdict in report.verdicts[:5]), "the book itself is proven"
    return report


async def judged(site: Site, folder: Path) -> Verdict:
    """The verdict on its settlement."""
    return (await verified(site, folder)).verdicts[SETTLEMENT]


def said(verdict: Verdict) -> list[str]:
    return [finding.what for finding in verdict.findings]
