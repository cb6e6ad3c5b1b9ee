"""A gateway as a process of its own, composed from the settings file.

It needs `[community]`, `[data]`, `[nats]` and its own table, so the file on a device that only reads meters
names neither the store nor the buildings.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from ingest.courier import SenderSettings
from ingest.gateway import Gateway, Site
from ingest.settings import GatewaySettings, find_gateway, gateways_from
from ledger.clock import Clock, SystemClock
from ledger.keys import SigningKey
from ledger.opening import service_public
from ledger.settings import Settings, device_settings, read_toml


def key_file(gateway: GatewaySettings, settings: Settings) -> Path:
    """Where the gateway's private key is."""
    return Path(gateway.key_file) if gateway.key_file else settings.keys_folder / f"{gateway.id}.pem"


def outbox_file(gateway: GatewaySettings, settings: Settings) -> Path:
    """Where the gateway's outbox is."""
    return settings.data_folder / "outbox" / f"{gateway.id}.db"


def compose(
    gateway: GatewaySettings, settings: Settings, clock: Clock, sender_settings: SenderSettings | None = None
) -> Gateway:
    """The gateway with its keys loaded, not yet started. `settings` say where the bus is.

    Raises `KeyFile`.
    """
    site = Site(
        community=settings.community.id,
        interval_minutes=settings.community.interval_minutes,
        service=service_public(settings.keys_folder),
        bus=settings.nats,
        key=SigningKey.load(key_file(gateway, settings)),
        outbox=outbox_file(gateway, settings),
        zone=settings.community.zone,
    )
    return Gateway(gateway, site, clock, sender_settings)


async def run_gateway(
    config: Path, environment: Mapping[str, str], name: str | None, stop: asyncio.Event
) -> None:
    """Run the gateway called `name`, or the only one in the file, until `stop` is set.

    Raises `SettingsInvalid`, `NotRunning`, `KeyFile` and what `Gateway` raises.
    """
    tables = read_toml(config, environment)
    settings = device_settings(tables, config)
    gateway = find_gateway(gateways_from(tables, config), name)
    async with compose(gateway, settings, SystemClock()) as running:
        await running.run(stop)
