"""What the doctor looks at about NATS' users: their keys' files, and whether the servers know them."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from api.finding import Finding
from ingest.gateway_service import key_file
from ingest.settings import GatewaySettings
from ledger.bus import Bus, BusUnavailable, User
from ledger.bus.nkey import user_nkey
from ledger.bus.users import SERVICES
from ledger.bus_users import service_key_file, user_of
from ledger.keys import PublicKey, SigningKey
from ledger.postgres.reader import Row
from ledger.registry import OPERATOR, SERVICE
from ledger.settings import Settings
from ledger.words import counted

PATIENCE_SECONDS = 5


def service_key_files(settings: Settings) -> list[Path]:
    """The keys by which services connect; none where somebody else keeps the users."""
    return [] if settings.nats.nkey_seed_file else [service_key_file(settings, each) for each in SERVICES]


def seed_findings(settings: Settings) -> Iterator[Finding]:
    """Whether others can read the seed that the settings name."""
    path = Path(settings.nats.nkey_seed_file)
    if settings.nats.nkey_seed_file and path.exists() and path.stat().st_mode & 0o077:
        yield Finding("nats key", "odd", f"others may read {path}", f"chmod 600 {path}")


def operator_user(settings: Settings) -> User | None:
    """As whom the doctor connects, if the operator has a key for NATS: it makes none. Raises `KeyFile`."""
    path = service_key_file(settings, "operator")
    return (
        User(settings.community.id, "service", "operator", SigningKey.load(path)) if path.exists() else None
    )


async def gateway_findings(settings: Settings, gateways: Sequence[GatewaySettings]) -> AsyncIterator[Finding]:
    """Whether the servers let the gateways of this installation in: each is tried with its own key."""
    known = 0
    for gateway in gateways:
        path = key_file(gateway, settings)
        if gateway.remote or settings.nats.nkey_seed_file or not path.exists():
            continue
        user = user_of(settings, gateway.id, SigningKey.load(path))
        try:
            async with await Bus.connect(settings.nats, "doctor", user, patience_seconds=PATIENCE_SECONDS):
                known += 1
        except BusUnavailable as error:
            yield Finding("nats users", "wrong", str(error), error.hint)
            return
    if known:
        yield Finding("nats users", "well", f"{counted(known, 'gateway')} let in, each by its own key")


def list_findings(settings: Settings, devices: Sequence[Row]) -> Iterator[Finding]:
    """Whether the list that the servers read has every device with a valid key."""
    if not settings.nats.users_file:
        return
    path = Path(settings.nats.users_file)
    try:
        listed = path.read_text()
    except OSError as error:
        hint = "`energy-ledger nats users` writes it, and the writer keeps it near the book"
        yield Finding("nats users", "wrong", f"{path} cannot be read: {error.strerror}", hint)
        return
    keys = {row["device"]: row["public_key"] for row in devices if row["device"] not in (OPERATOR, SERVICE)}
    missing = [
        device for device, public in keys.items()
        if public and user_nkey(PublicKey.from_hex(public)) not in listed
    ]  # fmt: skip
    if missing:
        hint = "the writer keeps the list: is it running, with this file as `users_file` under [nats]?"
        yield Finding("nats users", "wrong", f"not in {path}: {', '.join(missing[:5])}", hint)
