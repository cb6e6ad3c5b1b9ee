"""`energy-ledger key`: who may use the API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.access import AccessKey, Role, new_key
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.errors import BadInput
from ledger.postgres.access import AccessStore
from ledger.postgres.pool import Pool
from ledger.services import registry_of
from ledger.settings import FOREIGN_TABLES, Settings, read_toml, settings_from, with_servers
from settlement.known_building import check_building

out = Console(highlight=False, markup=False, soft_wrap=True)

DAYS_MAX = 3_650


class UnknownKey(BadInput):
    """There is no key of this prefix."""

    code = "unknown-key"


class KeyUnfit(BadInput):
    """A key of this role needs something else."""

    code = "key-unfit"


def create(
    role: Literal["building", "auditor", "billing", "operator"],
    *,
    building: str | None = None,
    label: str = "",
    days: int = 365,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Make a key for the API. It is shown once, and kept as a digest only.

    Parameters
    ----------
    role
        building: its own intervals, trades, orders and invoices. auditor: the log and exports. billing: runs,
        invoices, journals. operator: everything of the community.
    building
        Whose key it is, for the role building.
    label
        Whom it is for, in your own words.
    days
        For so long it counts.
    """
    settings = _settings(config)
    if (role == "building") != (building is not None):
        raise KeyUnfit(
            "a key of the role building names one"
            if role == "building"
            else f"the role {role} has no building",
            where="--building",
        )
    if not 1 <= days <= DAYS_MAX:
        raise KeyUnfit(f"a key counts for 1 to {DAYS_MAX:,} days", where="--days")

    async def made() -> str:
        if building is not None:
            check_building(building, (await registry_of(settings)).buildings)
        return await _add(settings, role, building, label, SystemClock().now(), timedelta(days=days))

    out.print(run(made()))


def keys(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List the keys of the API, without their secrets."""
    settings = _settings(config)

    async def read() -> Sequence[AccessKey]:
        async with _store(settings) as store:
            return await store.keys(settings.community.id)

    now = SystemClock().now()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("prefix", "role", "building", "label", "state", "until"):
        is_free = heading in ("building", "label")
        table.add_column(heading, no_wrap=not is_free, overflow="fold")
    found = run(read())
    for key in found:
        state = (
            "revoked"
            if key.revoked_at and key.revoked_at <= now
            else "counts"
            if key.counts(now)
            else "expired"
        )
        ends = min(key.expires_at, key.revoked_at or key.expires_at)
        table.add_row(key.prefix, key.role, key.building or "", key.label, state, f"{ends:%Y-%m-%d %H:%M}Z")
    out.print(table if found else "no keys yet; `energy-ledger key create` makes one")


def revoke(prefix: str, *, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Let a key open nothing any more, within seconds.

    Parameters
    ----------
    prefix
        The part before the dot.
    """
    settings = _settings(config)
    run(_end(settings, prefix, SystemClock().now()))
    out.print(f"{prefix} opens nothing any more")


def rotate(
    prefix: str, *, overlap_days: int = 7, days: int = 365, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Make a key of the same role in the place of another, which goes on to count for some days.

    Parameters
    ----------
    prefix
        The part before the dot, of the old key.
    overlap_days
        For so long the old one still counts; 0 ends it at once.
    days
        For so long the new one counts.
    """
    settings = _settings(config)
    if not 0 <= overlap_days <= days <= DAYS_MAX:
        raise KeyUnfit("the old key is to end before the new one does", where="--overlap-days")

    async def made() -> str:
        async with _store(settings) as store:
            old = await store.key(prefix)
        now = SystemClock().now()
        if old is None or old.community != settings.community.id or not old.counts(now):
            raise UnknownKey(
                "there is no such key that counts", where=prefix, hint="`energy-ledger key list`"
            )
        token = await _add(settings, old.role, old.building, old.label, now, timedelta(days=days))
        await _end(settings, prefix, now + timedelta(days=overlap_days))
        return token

    out.print(run(made()))


async def _add(
    settings: Settings, role: Role, building: str | None, label: str, now: datetime, lasts: timedelta
) -> str:
    """A new key in the store; its token."""
    key = new_key()
    async with _store(settings) as store:
        await store.add(
            AccessKey(key.prefix, key.digest, settings.community.id, role, building, label, now, now + lasts)
        )
    return key.token


async def _end(settings: Settings, prefix: str, at: datetime) -> None:
    async with _store(settings) as store:
        if not await store.end(settings.community.id, prefix, at):
            raise UnknownKey("there is no such key", where=prefix, hint="`energy-ledger key list` shows them")


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[AccessStore]:
    pool = await Pool.open(settings.postgres, 1)
    try:
        yield AccessStore(pool)
    finally:
        await pool.close()


def _settings(config: ConfigPath) -> Settings:
    return with_servers(settings_from(read_toml(config, environment()), config, FOREIGN_TABLES))
