"""The demo's course: build the campus, live through the days, export, verify, tamper, verify again."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from api.audit_commands import FURTHER
from api.demo.campus import GATEWAY, SETTINGS, Campus
from api.demo.keeping import DATA, check_room, keep_all
from api.demo.market import MARKET, MarketResult, place_orders, settle
from api.demo.tamper import flip_one_bit
from api.installation import Installation, InstallationSettings, running
from ledger.clock import VirtualClock, monotonic_seconds
from ledger.errors import Damaged
from ledger.export import export_community
from ledger.postgres.exporter import open_snapshot
from ledger.postgres.reader import Reader
from ledger.settings import DataSettings, read_toml, settings_from
from ledger.verify import verify_file
from ledger.verify.report import Report
from ledger.writer import WriterSettings

SECONDS_A_DAY = 86_400
PROJECTED_SECONDS_MAX = 60

Progress = Callable[[str, int, int], None]
"""`progress(stage, done, of)`."""


class BuildingResult(msgspec.Struct, frozen=True):
    """A building's energy as the book has it, and as the data that its meter lived by says."""

    import_wh: int
    export_wh: int
    data_import_wh: int
    data_export_wh: int
    resolution_wh: int
    estimated_intervals: int

    @property
    def agrees(self) -> bool:
        """Whether the book equals the data to the meter's resolution."""
        return (
            abs(self.import_wh - self.data_import_wh) <= self.resolution_wh
            and abs(self.export_wh - self.data_export_wh) <= self.resolution_wh
        )


class DemoResult(msgspec.Struct, frozen=True):
    """What the demo has to show."""

    days: int
    events: int
    buildings: dict[str, BuildingResult]
    main: BuildingResult
    market: MarketResult
    blocks: int
    tree_size: int
    root: str
    verified: bool
    tamper_found_at: str
    seconds: float
    verification: Report
    tampered: Report


async def live(days: int, progress: Progress, keep: Path | None = None) -> DemoResult:
    """Run the demo in a folder of its own, which is gone afterwards, however it ends.

    The book as it was exported, the invoices and the installation stay in the folder `keep`. Raises
    `CannotWrite`.
    """
    begin = monotonic_seconds()
    if keep is not None:
        check_room(keep)
    campus = Campus(days)
    clock = VirtualClock(campus.begin)
    with tempfile.TemporaryDirectory(prefix="energy-ledger-demo-") as name:
        folder = Path(name)
        _let_servers_in(folder)
        async with _installed(campus, clock, folder) as installation:
            await place_orders(campus, installation)
            await _read_meters(campus, clock, installation, progress)
            progress("projecting", 0, 1)
            buildings, main = await _energies(campus, installation)
            progress("projecting", 1, 1)
            progress("settling", 0, 1)
            market = await settle(campus, installation, clock)
            progress("settling", 1, 1)
            sealed = await installation.writer.book.seal()
            book = folder / "campus.book.jsonl"
            exported = await _export(installation, book, progress)
        # The servers are stopped: from here on there is only the file.
        report = await _verify(book, "verifying", progress)
        tampered = folder / "tampered.book.jsonl"
        flip_one_bit(book, tampered)
        found = await _verify(tampered, "verifying with one bit flipped", progress)
        if keep is not None:
            await asyncio.to_thread(keep_all, keep, folder / DATA, book, market.invoices)
    return DemoResult(
        days=days,
        events=exported,
        buildings=buildings,
        main=main,
        market=market,
        blocks=sealed.number if sealed else 0,
        tree_size=report.size,
        root=report.root,
        verified=report.verified,
        tamper_found_at=_first_place(found),
        seconds=round(monotonic_seconds() - begin, 1),
        verification=report,
        tampered=found,
    )


async def _verify(book: Path, stage: str, progress: Progress) -> Report:
    """Verify on a thread of its own, so that Ctrl-C is heard meanwhile."""
    return await asyncio.to_thread(
        verify_file, book, progress=lambda done, of: progress(stage, done, of), further=FURTHER
    )


def _let_servers_in(folder: Path) -> None:
    """Make the data folder; the account that the servers run as must be able to pass through."""
    folder.chmod(0o711)
    (folder / DATA).mkdir(mode=0o711)


@asynccontextmanager
async def _installed(campus: Campus, clock: VirtualClock, folder: Path) -> AsyncIterator[Installation]:
    """Simulated meters and a whole installation that reads them."""
    settings = msgspec.structs.replace(
        settings_from(read_toml(SETTINGS, {}), SETTINGS),
        data=DataSettings(folder=str(folder / DATA)),
        writer=WriterSettings(seal_seconds=SECONDS_A_DAY, wait_seconds=0.2),
    )
    async with (
        campus.simulator(clock) as simulator,
        running(InstallationSettings(settings, (campus.gateway(simulator),), MARKET), clock) as installation,
    ):
        yield installation


async def _read_meters(
    campus: Campus, clock: VirtualClock, installation: Installation, progress: Progress
) -> None:
    """Have every meter read at every quarter, as fast as they answer, and wait for the receipts."""
    gateway = installation.gateways[GATEWAY]
    for number, instant in enumerate(campus.instants()):
        await clock.sleep_until(instant)
        await gateway.poll_once(instant)
        progress("reading meters", number, campus.quarters)
    progress("waiting for receipts", 0, 1)
    await gateway.drained()
    progress("waiting for receipts", 1, 1)


async def _energies(
    campus: Campus, installation: Installation
) -> tuple[dict[str, BuildingResult], BuildingResult]:
    """What the projections say, once they have caught up with the book."""
    community = installation.settings.community.id
    async with await Reader.open(installation.settings.postgres) as reader:
        await _until_projected(reader, community, installation)
        buildings = {row["building"]: row for row in await reader.building_energy(community)}
        (main,) = await reader.meter_energy(community, [campus.lives.main.id])
    results = {
        life.building: _result(campus, buildings[life.building], life.id, life.resolution_wh)
        for life in campus.lives.meters
    }
    return results, _result(campus, main, campus.lives.main.id, campus.lives.main.resolution_wh)


async def _until_projected(reader: Reader, community: str, installation: Installation) -> None:
    begin = monotonic_seconds()
    while await reader.projected(community) < installation.writer.book.size:
        if monotonic_seconds() - begin > PROJECTED_SECONDS_MAX:
            raise Damaged("the projections do not catch up with the book", where=community)
        await asyncio.sleep(0.05)


def _result(campus: Campus, row: dict[str, int], meter: str, resolution_wh: int) -> BuildingResult:
    data = campus.energy(meter)
    return BuildingResult(
        import_wh=row["import_wh"],
        export_wh=row["export_wh"],
        data_import_wh=data.import_wh,
        data_export_wh=data.export_wh,
        resolution_wh=resolution_wh,
        estimated_intervals=row["not_measured"],
    )


async def _export(installation: Installation, book: Path, progress: Progress) -> int:
    async with open_snapshot(installation.settings.postgres) as snapshot:
        exported = await export_community(
            snapshot,
            installation.settings.community.id,
            book,
            lambda done, of: progress("exporting", done, of),
        )
    return exported.events


def _first_place(report: Report) -> str:
    """The first bad place that a report names, as stream and sequence."""
    for verdict in report.verdicts:
        for finding in verdict.findings:
            if finding.stream:
                return f"{finding.stream} {finding.sequence}"
    return ""
