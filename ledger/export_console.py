"""`energy-ledger export` at work."""

from pathlib import Path

from rich.console import Console

from ledger.book_commands import book_settings
from ledger.command_line import run
from ledger.export import Exported, Progress, export_community
from ledger.extract import export_meter
from ledger.postgres.exporter import open_snapshot
from ledger.settings import Settings
from ledger.verify_console import shown_progress


def run_export(community: str, meter: str, path: Path | None, config: Path) -> None:
    """Export from the installation of a settings file, and say what was written. Raises as `load_settings`,
    `open_snapshot`, `export_community` and `export_meter`."""
    settings = book_settings(config)
    with shown_progress("exporting") as told:
        exported = run(_export(settings, community or settings.community.id, meter, path, told))
    out = Console(highlight=False, soft_wrap=True)
    out.print(f"{exported.path}: {exported.events:,} events of a book of {exported.size:,}")


async def _export(
    settings: Settings, community: str, meter: str, path: Path | None, told: Progress
) -> Exported:
    async with open_snapshot(settings.postgres) as snapshot:
        if meter:
            return await export_meter(snapshot, community, meter, path, told, log=settings.log)
        return await export_community(snapshot, community, path, told, log=settings.log)
