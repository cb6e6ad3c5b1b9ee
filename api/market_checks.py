"""The doctor's checks of a market: its rules, its tariff, and how far it is settled."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from api.finding import Finding, Verdict
from ledger.clock import rfc3339
from ledger.errors import LedgerError
from ledger.grid import Grid
from ledger.market_events import TariffPublished
from ledger.postgres.provisioned import read_provisioned
from ledger.postgres.settlement import SettlementStore, Standing
from ledger.registry import Registry
from ledger.services import registry_of
from ledger.settings import Settings
from ledger.words import counted
from settlement.amounts import PPM
from settlement.publishing import missing_events
from settlement.rules_in_force import RulesInForce
from settlement.settings import MarketSettings
from settlement.tariff import tariff_names

AHEAD = timedelta(days=30)
BEHIND_MAX = timedelta(hours=1)
LOOK = timedelta(days=1)
PROVISION = "run `energy-ledger provision`, or start `energy-ledger up` again"
MEND = "put what is missing into {name}.toml, or the file it refers to, with its source, and " + PROVISION
OTHERWISE = "nothing, if that was meant: it counts until [market] asks for something new"
COPY_FIRST = (
    "copy its files beside the settings (`energy-ledger tariffs --copy {name}`), use the copy"
    ' (tariff = "{name}.toml" under [market]), '
)


def keys_findings(market: MarketSettings) -> Iterator[Finding]:
    """What there is to say of what buildings are entitled to. No server is asked."""
    whole = sum(market.keys.values())
    if market.has_told_keys and whole != PPM:
        found = f"a remark: keys sum to {whole:,}; each counts as its part of that"
        yield Finding("market", "well", found)


async def market_findings(
    settings: Settings, market: MarketSettings, now: datetime
) -> AsyncIterator[Finding]:
    """All that there is to say of a market. Raises `LedgerError` where a part cannot be looked at."""
    registry = await registry_of(settings)
    grid = Grid(settings.community.interval_minutes, settings.community.zone)
    applied = await read_provisioned(settings.postgres, settings.community.id)
    yield _rules(registry, market, settings, now, applied)
    if not registry.market.rules:
        return
    rules = RulesInForce(registry)
    for finding in _tariff(rules, market, grid, now):
        yield finding
    due = grid.floor(now - timedelta(minutes=market.settle_after_minutes))
    async with await SettlementStore.open(settings.postgres) as store:
        yield await _settlement(store, settings.community.id, rules, market, grid, due)


def _rules(
    registry: Registry, market: MarketSettings, settings: Settings, now: datetime, applied: Mapping[str, str]
) -> Finding:
    missing = missing_events(registry.market, market, settings, now, applied)
    if not missing and missing_events(registry.market, market, settings, now):
        return Finding("market", "odd", "the book's was published after that of the settings", OTHERWISE)
    if not missing:
        count = counted(len(registry.market.rules), "publication")
        return Finding("market", "well", f"{market.mechanism}, published as in the settings ({count})")
    names = " and ".join(
        f"tariff {each.tariff}" if isinstance(each, TariffPublished) else "rules" for each in missing
    )
    return Finding(
        "market",
        "odd" if registry.market.rules else "wrong",
        f"the book does not have the settings' {names} yet",
        PROVISION,
    )


def _tariff(rules: RulesInForce, market: MarketSettings, grid: Grid, now: datetime) -> Iterator[Finding]:
    """Whether the published tariff tells a price for every interval to come, and until when."""
    begin = grid.floor(now)
    if (hole := _hole(rules, grid, begin, begin + AHEAD)) is not None:
        at, error = hole
        verdict: Verdict = "wrong" if at <= now else "odd"
        found = f"no price from {_since(rules, grid, at)} on: {error.what}"
        yield Finding("tariff", verdict, found, _mend(rules, market, at))
        return
    in_force = rules.at(begin)
    if in_force is None:
        return
    tariff = in_force.tariff
    day = now.astimezone(tariff.zone).date()
    ends = [f"{what} until {end}" for what, end in tariff.known_until(day) if end is not None]
    said = f"known: {', '.join(ends)}" if ends else "known without an end"
    yield Finding("tariff", "well", f"{tariff.name}, {said}")
    for note in tariff.notes(at.astimezone(tariff.zone).year for at in (now, now + AHEAD)):
        yield Finding("tariff", "well", f"a remark: {note}")


def _since(rules: RulesInForce, grid: Grid, at: datetime) -> str:
    """From when on there is no price, where there is none at an instant: the day may have passed long ago."""
    local = at.astimezone(grid.zone)
    with suppress(LedgerError):
        in_force = rules.at(at)
        since = in_force and in_force.tariff.unknown_since(local.date())
        if since and since < local.date():
            return f"{since} 00:00"
    return f"{local:%Y-%m-%d %H:%M}"


def market_lines(registry: Registry, now: datetime) -> Iterator[str]:
    """What the market goes by at an instant as the book has it, and what keeps it from being settled."""
    rules = registry.market.rules
    if (in_force := registry.market.rules_at(now)) is not None:
        yield f"it trades by {in_force.mechanism}"
    elif rules:
        yield f"it will trade by {rules[0].mechanism} from {rfc3339(rules[0].begin)} on"
    try:
        if (ready := RulesInForce(registry).at(now)) is not None:
            ready.tariff.band(int(now.timestamp()))
    except LedgerError as error:
        yield f"nothing can be settled now: {error.what}; `energy-ledger doctor` says what to do"


def _mend(rules: RulesInForce, market: MarketSettings, at: datetime) -> str:
    """What to do about a tariff that does not say what holds at an instant."""
    published = rules.published(at)
    if published is None:
        return PROVISION
    is_copied = market.tariff.endswith(".toml") and Path(market.tariff).stem == published.tariff
    advice = COPY_FIRST + MEND if published.tariff in tariff_names() and not is_copied else MEND
    return advice.format(name=published.tariff)


def _hole(
    rules: RulesInForce, grid: Grid, begin: datetime, until: datetime
) -> tuple[datetime, LedgerError] | None:
    """The first interval of [begin, until) without a price, and why."""
    for second in range(int(begin.timestamp()), int(until.timestamp()), grid.step):
        at = datetime.fromtimestamp(second, UTC)
        try:
            if (in_force := rules.at(at)) is not None:
                in_force.tariff.band(second)
        except LedgerError as error:
            return at, error
    return None


async def _settlement(
    store: SettlementStore,
    community: str,
    rules: RulesInForce,
    market: MarketSettings,
    grid: Grid,
    due: datetime,
) -> Finding:
    async with store.transaction(community):
        standing = await store.standing(community)
        since = standing.settled_until or rules.begin or due
        waits = await _waits(store, community, since, due)
    said = _said(standing, grid)
    if not waits:
        return Finding("settlement", "well", said)
    if (hole := _hole(rules, grid, since, due)) is not None:
        return Finding(
            "settlement", "wrong", f"{said}; it waits: {hole[1].what}", _mend(rules, market, hole[0])
        )
    if due - since > BEHIND_MAX:
        hours = (due - since) // timedelta(hours=1)
        return Finding(
            "settlement", "wrong", f"{said}, {counted(hours, 'hour')} behind",
            "is `energy-ledger up` or `energy-ledger settler` running? its log says what it waits for",
        )  # fmt: skip
    return Finding("settlement", "well", f"{said}; {(due - since) // timedelta(minutes=1)} min behind")


async def _waits(store: SettlementStore, community: str, since: datetime, due: datetime) -> bool:
    """Whether there is energy to settle in [since, due)."""
    while since < due:
        if await store.energies(community, since, min(since + LOOK, due)):
            return True
        since += LOOK
    return False


def _said(standing: Standing, grid: Grid) -> str:
    if standing.number is None or standing.settled_until is None:
        return "nothing is settled yet"
    local = standing.settled_until.astimezone(grid.zone)
    return f"settled until {local:%Y-%m-%d %H:%M}, {counted(standing.number, 'run')}"
