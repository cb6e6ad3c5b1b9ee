"""The doctor: looks at every part of an installation and says what is wrong and what to do about it.

Each check stands alone: one that cannot be made because an earlier part is missing is left out, and none
changes anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import msgspec

from api.billing_checks import billing_findings
from api.bus_checks import (
    gateway_findings,
    list_findings,
    operator_user,
    seed_findings,
    service_key_files,
)
from api.delivery_checks import delivery_findings
from api.disk_checks import disk_finding
from api.finding import Finding, Verdict
from api.http.settings import ApiSettings
from api.installation import EXAMPLE_HINT, load_installation, meter_places, on_example_address
from api.market_checks import keys_findings, market_findings
from api.serving_checks import connection_findings
from api.witness_checks import witness_findings
from ingest.alarms import METER_OFFLINE, METER_ONLINE
from ingest.gateway_service import key_file, outbox_file
from ingest.outbox import Outbox
from ingest.outbox_file import OutboxInUse
from ingest.settings import GatewayLine, GatewaySettings, MeterSettings, gateways_from
from ledger.bus import STORES_NOTHING, Bus
from ledger.clock import SystemClock
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.opened import OtherOpening, check_opened
from ledger.postgres import connect
from ledger.postgres.connection import close
from ledger.postgres.health import check_role, connections_max
from ledger.postgres.migrate import pending
from ledger.postgres.reader import Reader, Row
from ledger.postgres.witnesses import witnesses_of
from ledger.services import registry_of
from ledger.settings import Settings, device_settings, read_toml, with_servers
from ledger.words import counted
from settlement.billing.settings import BillingSettings
from settlement.settings import MarketSettings

BEHIND_MAX = 10_000
SILENT_MAX = timedelta(hours=1)
ALARMS_MAX = 10_000
QUARANTINE_SPAN = timedelta(days=1)
NAMES_MAX = 6


@dataclass(slots=True)
class Patient:
    """What the checks look at."""

    settings: Settings
    gateways: tuple[GatewaySettings, ...]
    market: MarketSettings | None = None
    billing: BillingSettings = field(default_factory=BillingSettings)
    api: ApiSettings | None = None


Check = Callable[[Patient], AsyncIterator[Finding]]


async def examine(path: Path, environment: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order in which parts stand on one another."""
    try:
        tables = read_toml(path, environment)
        if _is_devices(tables):
            return await _examine_device(device_settings(tables, path), gateways_from(tables, path), path)
        settings, gateways, market, billing, api = load_installation(path, environment)
    except LedgerError as error:
        return [_wrong("settings", error)]
    findings = [Finding("settings", "well", f"{path} is sound")]
    patient = Patient(settings, gateways, market, billing, api)
    for check in _BEFORE_SERVERS:
        findings += [finding async for finding in check(patient)]
    try:
        patient.settings = with_servers(settings)
    except LedgerError as error:
        return [*findings, _wrong("servers", error)]
    for check in _WITH_SERVERS:
        findings += await _guarded(check, patient)
    return findings


def _is_devices(tables: Mapping[str, Any]) -> bool:
    """Whether the settings are those of a device's own machine: they name NATS, and no store."""
    store, nats = tables.get("postgres", {}), tables.get("nats", {})
    return isinstance(nats, dict) and bool(nats.get("url")) and not (isinstance(store, dict) and store)


async def _examine_device(
    settings: Settings, gateways: tuple[GatewaySettings, ...], path: Path
) -> list[Finding]:
    """What can be seen from where gateways run whose keys are there: nothing of the store."""
    here = [
        msgspec.structs.replace(each, remote=False) for each in gateways if key_file(each, settings).exists()
    ]
    patient = Patient(settings, tuple(here))
    findings = [Finding("settings", "well", f"{path} is sound")]
    if not here:
        hint = "`energy-ledger device request` makes one; an operator enrols it"
        findings.append(Finding("keys", "wrong", f"no gateway's key is in {settings.keys_folder}", hint))
    for check in (_lines, _disk, _gateway_keys, _outboxes):
        findings += [finding async for finding in check(patient)]
    return findings + await _guarded(_gateways, patient)


async def _guarded(check: Check, patient: Patient) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(20):
            async for finding in check(patient):
                findings.append(finding)
    except LedgerError as error:
        findings.append(_wrong(check.__name__.removeprefix("_"), error))
    except TimeoutError:
        what = check.__name__.removeprefix("_")
        findings.append(Finding(what, "wrong", "no answer within 20 s", "is the machine overloaded?"))
    return findings


def _wrong(what: str, error: LedgerError) -> Finding:
    return Finding(what, "wrong", str(error), error.hint)


async def _billing(patient: Patient) -> AsyncIterator[Finding]:
    if patient.market is not None:
        for finding in billing_findings(patient.settings, patient.market, patient.billing):
            yield finding


async def _sharing(patient: Patient) -> AsyncIterator[Finding]:
    if patient.market is not None:
        for finding in keys_findings(patient.market):
            yield finding


async def _lines(patient: Patient) -> AsyncIterator[Finding]:
    for line in on_example_address(patient.gateways):
        yield Finding("line", "odd", line, EXAMPLE_HINT)


async def _disk(patient: Patient) -> AsyncIterator[Finding]:
    yield disk_finding(patient.settings.data_folder)


async def _keys(patient: Patient) -> AsyncIterator[Finding]:
    settings = patient.settings
    paths = [settings.keys_folder / f"{name}.pem" for name in ("service", "log", "operator")]
    paths += [key_file(gateway, settings) for gateway in patient.gateways if not gateway.remote]
    paths += service_key_files(settings)
    for finding in seed_findings(settings):
        yield finding
    missing = [path for path in paths if not path.exists()]
    for path in paths:
        if path in missing:
            continue
        try:
            SigningKey.load(path)
        except LedgerError as error:
            yield _wrong("keys", error)
    if missing:
        names = ", ".join(path.name for path in missing)
        yield Finding("keys", "odd", f"not made yet: {names}", "the first `energy-ledger up` makes them")
    else:
        yield Finding(
            "keys", "well", f"{counted(len(paths), 'key')}; keep a copy of {settings.keys_folder} elsewhere"
        )


async def _gateway_keys(patient: Patient) -> AsyncIterator[Finding]:
    for gateway in patient.gateways:
        try:
            key = SigningKey.load(key_file(gateway, patient.settings))
        except LedgerError as error:
            yield _wrong("keys", error)
        else:
            yield Finding("keys", "well", f"{gateway.id} signs with {key.public.id}")


async def _outboxes(patient: Patient) -> AsyncIterator[Finding]:
    for gateway in patient.gateways:
        if gateway.remote:
            continue
        what = f"outbox {gateway.id}"
        path = outbox_file(gateway, patient.settings)
        if not path.exists():
            yield Finding(what, "odd", "not made yet", "start the gateway")
            continue
        try:
            outbox = Outbox.open(path)
        except OutboxInUse:
            yield Finding(what, "well", "in use by its gateway")
            continue
        except LedgerError as error:
            yield _wrong(what, error)
            continue
        waiting = outbox.standing().waiting
        outbox.close()
        yield Finding(what, "well", f"sound, {counted(waiting, 'event')} without a receipt")


async def _postgres(patient: Patient) -> AsyncIterator[Finding]:
    connection = await connect(patient.settings.postgres, name="doctor")
    try:
        missing, most = await pending(connection), await connections_max(connection)
        if not missing:
            await check_role(connection)
    finally:
        await close(connection)
    if missing:
        yield Finding("postgres", "wrong", f"lacks {', '.join(missing)}", "run `energy-ledger migrate`")
    else:
        yield Finding("postgres", "well", "answers, and has this version's tables")
    if patient.api is not None:
        for finding in connection_findings(patient.api, most):
            yield finding


async def _nats(patient: Patient) -> AsyncIterator[Finding]:
    user = operator_user(patient.settings)
    if user is None and not patient.settings.nats.nkey_seed_file:
        hint = "`energy-ledger nats users` makes it, where the ledger's keys are"
        yield Finding("nats", "odd", "not asked: the operator's key for it is not here", hint)
        return
    async with await Bus.connect(patient.settings.nats, "doctor", user, patience_seconds=5) as bus:
        await bus.check_sync()
        await bus.check_stores()
        if said := await bus.unwell():
            yield Finding("nats", "odd", f"one of the servers is unwell: {said}", STORES_NOTHING)
        if patient.settings.nats.relaxed_sync:
            yield Finding("nats", "odd", "answers; sync is relaxed: only for gateways with an outbox")
        elif not patient.settings.nats.monitor_url:
            yield Finding("nats", "odd", "answers; whether it syncs is not known", "set nats.monitor_url")
        else:
            yield Finding("nats", "well", "answers, and writes to disk before it acknowledges")


async def _gateways(patient: Patient) -> AsyncIterator[Finding]:
    async for finding in gateway_findings(patient.settings, patient.gateways):
        yield finding


async def _users(patient: Patient) -> AsyncIterator[Finding]:
    async with await Reader.open(patient.settings.postgres) as reader:
        devices = await reader.devices(patient.settings.community.id)
    for finding in list_findings(patient.settings, devices):
        yield finding


async def _writer(patient: Patient) -> AsyncIterator[Finding]:
    user = operator_user(patient.settings)
    if user is None and not patient.settings.nats.nkey_seed_file:
        return
    async with await Bus.connect(patient.settings.nats, "doctor", user, patience_seconds=5) as bus:
        await bus.ask_heads(patient.settings.community.id, "operator")
        yield Finding("writer", "well", "answers")


async def _book(patient: Patient) -> AsyncIterator[Finding]:
    community = patient.settings.community.id
    async with await Reader.open(patient.settings.postgres) as reader:
        fence = await reader.fence(community)
        if fence is None or fence.size == 0:
            yield Finding("book", "wrong", "is not open yet", "start the writer, or `energy-ledger up`")
            return
        yield Finding("book", "well", f"{counted(fence.size, 'event')}, root {fence.root.hex()}")
        if (opened := (await registry_of(patient.settings)).opened) is not None:
            try:
                check_opened(opened, msgspec.structs.asdict(patient.settings.community))
            except OtherOpening as error:
                yield _wrong("settings", error)
        behind = fence.size - await reader.projected(community)
        verdict: Verdict = "wrong" if behind > BEHIND_MAX else "well"
        hint = (
            "is the projector running? its log names an event that it cannot apply"
            if behind > BEHIND_MAX
            else ""
        )
        yield Finding("projections", verdict, f"{counted(behind, 'event')} behind the book", hint)
        yesterday = SystemClock().now() - QUARANTINE_SPAN
        rows = await reader.quarantine(community, 1_000)
        refused = [row for row in rows if row["resolved_at"] is None and row["last_at"] > yesterday]
        if refused:
            codes = sorted({row["code"] for row in refused})
            yield Finding(
                "quarantine", "odd",
                f"{counted(len(refused), 'message')} refused in the last day: {', '.join(codes)}",
                "`energy-ledger quarantine` lists them",
            )  # fmt: skip
        else:
            yield Finding("quarantine", "well", "nothing was refused in the last day")


async def _meters(patient: Patient) -> AsyncIterator[Finding]:
    """Every meter of the settings: is it in the registry, and did it speak lately?"""
    community = patient.settings.community.id
    now = SystemClock().now()
    async with await Reader.open(patient.settings.postgres) as reader:
        rows = {row["meter"]: row for row in await reader.meters(community)}
        offline = _offline(patient, await reader.alarms(community, ALARMS_MAX))
    unknown = [place.meter for place in meter_places(patient.gateways) if place.meter not in rows]
    if unknown:
        yield Finding(
            "meters", "wrong", f"not in the registry: {_first(unknown)}", "run `energy-ledger provision`"
        )
    active = [row for row in rows.values() if row["until"] is None]
    unread = [row["meter"] for row in active if row["reader"] is None]
    if unread:
        yield Finding(
            "meters", "odd", f"nobody is assigned to {_first(unread)}",
            "enrol the device, then run `energy-ledger provision` for a meter of the settings, or name it as"
            " the meter's reader over the API (`POST .../registry`)",
        )  # fmt: skip
    if offline:
        names = _first([meter.id for _, meter in offline])
        line, meter = offline[0]
        yield Finding(
            "meters", "odd", f"{counted(len(offline), 'meter')} without an answer: {names}",
            f"`energy-ledger meter test {line.host} {meter.model} --port {line.port} --framer {line.framer}"
            f" --unit {meter.unit}` says why; it wants the line for itself, so stop its gateway meanwhile",
        )  # fmt: skip
    quiet = {meter.id for _, meter in offline}
    silent = [
        row["meter"] for row in active
        if now - (row["newest"] or row["since"]).astimezone(UTC) > SILENT_MAX and row["meter"] not in quiet
    ]  # fmt: skip
    if silent:
        yield Finding(
            "meters", "odd", f"{len(silent)} of {len(active)} silent for an hour: {_first(silent)}",
            "`energy-ledger alarms`, then `energy-ledger meter test` on site",
        )  # fmt: skip
    elif offline:
        return
    elif any(row["newest"] is None for row in active):
        yield Finding("meters", "well", "the first interval ends with the second reading on time")
    elif active:
        yield Finding("meters", "well", f"all {len(active)} spoke within the hour")


def _first(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    shown = names if len(names) <= NAMES_MAX else names[: NAMES_MAX - 1]
    more = [f"and {len(names) - len(shown)} more"] * (len(shown) < len(names))
    return ", ".join([*shown, *more])


async def _witnesses(patient: Patient) -> AsyncIterator[Finding]:
    settings = patient.settings
    connection = await connect(settings.postgres, name="doctor")
    try:
        found = await witnesses_of(connection, settings.community.id, settings.log.keys)
    finally:
        await close(connection)
    for finding in witness_findings(found, settings.log.quorum, SystemClock().now()):
        yield finding


async def _delivery(patient: Patient) -> AsyncIterator[Finding]:
    is_billed = patient.market is not None
    async for finding in delivery_findings(patient.settings, SystemClock().now(), is_billed=is_billed):
        yield finding


async def _market(patient: Patient) -> AsyncIterator[Finding]:
    if patient.market is not None:
        async for finding in market_findings(patient.settings, patient.market, SystemClock().now()):
            yield finding


def _offline(patient: Patient, alarms: Sequence[Row]) -> list[tuple[GatewayLine, MeterSettings]]:
    """The meters of the settings whose gateway said last that they do not answer; `alarms` newest first."""
    last: dict[str, str] = {}
    for row in alarms:
        if row["alarm"] in (METER_OFFLINE, METER_ONLINE):
            last.setdefault(row["meter"], row["alarm"])
    return [
        (line, meter)
        for gateway in patient.gateways
        for line in gateway.lines
        for meter in line.meters
        if last.get(meter.id) == METER_OFFLINE
    ]


_BEFORE_SERVERS: tuple[Check, ...] = (_lines, _disk, _keys, _outboxes, _billing, _sharing)
_WITH_SERVERS: tuple[Check, ...] = (
    _postgres,
    _nats,
    _gateways,
    _users,
    _writer,
    _book,
    _witnesses,
    _meters,
    _delivery,
    _market,
)
