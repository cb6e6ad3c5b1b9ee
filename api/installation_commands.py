"""Commands for a whole installation: write its settings, run it, bring its registry up, ask what is wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from api.doctor import examine
from api.finding import Finding
from api.http.settings import ApiSettings
from api.installation import (
    EXAMPLE_HINT,
    Installation,
    InstallationSettings,
    background,
    connect,
    load_installation,
    on_example_address,
    running,
)
from api.installation import provision as bring_up
from api.market_checks import market_lines
from ledger.clock import SystemClock, monotonic_seconds
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, configure_logs, environment, run, serve
from ledger.errors import BadInput, LedgerError
from ledger.opening import LedgerKeys
from ledger.registry import Registry
from ledger.services import registry_of
from ledger.settings import with_servers
from ledger.words import counted
from settlement.settings import MarketSettings
from settlement.settler_service import keep_settling

out = Console(highlight=False, soft_wrap=True)
TEMPLATE = Path(__file__).parent / "template.toml"


class FileExists(BadInput):
    """A file that would be overwritten."""

    code = "file-exists"


class FileNotWritten(BadInput):
    """A file that cannot be written where it was asked for."""

    code = "file-not-written"


class Unwell(LedgerError):
    """The doctor found something that keeps the installation from working."""

    code = "unwell"


def init(path: Path = DEFAULT_CONFIG) -> None:
    """Write a settings file to start from.

    Parameters
    ----------
    path
        Where to write it; an existing file is not touched.
    """
    if path.exists():
        what = "a folder of that name" if path.is_dir() else "a settings file"
        raise FileExists(f"there is {what} already", where=str(path), hint="edit it, or name another")
    try:
        path.write_text(TEMPLATE.read_text())
    except OSError as error:
        raise FileNotWritten(f"cannot be written: {error.strerror}", where=str(path)) from error
    out.print(f"{escape(str(path))} is written: put your feeders, buildings and meters in, then run `up`")


def up(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run an installation from its settings file until Ctrl-C or SIGTERM.

    Starts the embedded servers unless the file names others, the writer, the projector, every gateway, the
    settler with a [market], and the API with an [api].
    """
    begin = monotonic_seconds()
    configure_logs()
    wanted = load_installation(config, environment())

    async def until(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            installation = await stack.enter_async_context(running(wanted))
            for gateway in installation.gateways.values():
                await stack.enter_async_context(background(gateway.run))
            if wanted.market is not None:
                await stack.enter_async_context(background(_settling(installation, wanted.market)))
            if wanted.book.log.witnesses:
                await stack.enter_async_context(_witnessed(installation, wanted.api))
            registry = installation.writer.book.registry
            told = list(ready_lines(wanted, registry, monotonic_seconds() - begin))
            if wanted.api is not None:
                address = await stack.enter_async_context(_served(installation, wanted, wanted.api, config))
                told.append(f"the API listens at {address}, its description is {address}/docs")
            for line in told:
                out.print(line, markup=False)
            await stop.wait()
            out.print("stopping: meters are let go, what was taken is answered")

    serve(until)
    out.print("stopped")


def _settling(
    installation: Installation, market: MarketSettings
) -> Callable[[asyncio.Event], Coroutine[None, None, None]]:
    settings, key = installation.settings, installation.keys.service

    async def settling(stop: asyncio.Event) -> None:
        async with await installation.connect("settler") as bus:
            await keep_settling(settings, market, bus, key, SystemClock(), stop)

    return settling


@asynccontextmanager
async def _witnessed(installation: Installation, api: ApiSettings | None) -> AsyncIterator[None]:
    """The log, brought to its witnesses meanwhile."""
    from api.witness_service import witnessing  # noqa: PLC0415 - who has no witnesses need not wait for it

    async with background(witnessing(installation.settings, api).run):
        yield


def _served(
    installation: Installation, wanted: InstallationSettings, api: ApiSettings, config: Path
) -> AbstractAsyncContextManager[str]:
    """The API at its address; it is the last to come and the first to go."""
    from api.serving import in_this_process, in_workers  # noqa: PLC0415 - who has no API need not wait for it

    if api.workers > 1:
        return in_workers(config, api)
    return in_this_process(installation.settings, api, wanted.billing)


def ready_lines(wanted: InstallationSettings, registry: Registry, seconds: float) -> tuple[str, ...]:
    """What there is to say once an installation is ready, `seconds` after it was started; of the market, what
    the book has, which may have been published over the API."""
    settings, gateways, market, *_ = wanted
    buildings, meters = len(settings.buildings), sum(len(gateway.meters) for gateway in gateways)
    ready = (
        f"ready in {seconds:.1f} s: community {settings.community.id}, {counted(buildings, 'building')}, "
        f"{counted(meters, 'meter')} behind {counted(len(gateways), 'gateway')}. "
        "Ctrl-C stops it; nothing is lost."
    )
    lines = [f"{line}; {EXAMPLE_HINT}" for line in on_example_address(gateways)]
    if market is not None:
        lines += market_lines(registry, SystemClock().now())
    return ready, *lines


def provision(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Bring the registry up to the settings file, signed by the operator. `up` does this by itself."""
    wanted = load_installation(config, environment())

    async def bring() -> int:
        reached = with_servers(wanted.book)
        keys = LedgerKeys.load_or_create(reached.keys_folder)
        async with await connect(reached, "operator") as bus:
            registry = await registry_of(reached)
            return await bring_up(wanted._replace(book=reached), keys, bus, registry, SystemClock())

    count = run(bring())
    done = f"{counted(count, 'event')} written"
    out.print(done if count else "nothing to do: the book says what the settings say")


def doctor(*, config: ConfigPath = DEFAULT_CONFIG, json: bool = False) -> None:
    """Say what is wrong and what to do: settings, keys, disk, servers, book, outboxes, meters, market.

    Parameters
    ----------
    json
        Print the findings as a JSON array.
    """
    findings = run(examine(config, environment()))
    if json:
        out.print_json(data=[finding._asdict() for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if wrong:
        raise Unwell(f"{counted(len(wrong), 'check')} of {len(findings)} failed", where=str(config))
    if not json:
        odd = sum(finding.verdict == "odd" for finding in findings)
        out.print(f"nothing is wrong; {odd} to look at" if odd else "all is well")


def _print(finding: Finding) -> None:
    mark = {"well": "[green]ok   [/]", "odd": "[yellow]odd  [/]", "wrong": "[red]wrong[/]"}[finding.verdict]
    out.print(f"{mark} {escape(finding.what)}: {escape(finding.found)}")
    if finding.hint:
        out.print(f"      what to do: {escape(finding.hint)}")
