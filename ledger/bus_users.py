"""The users of one community's NATS: the ledger's own services with a key each, and the devices of the book.

A device connects with the key that it signs with, so the registry says it all: who is enrolled there is let
in, who rotates is let in by the new key, who is revoked is thrown out. A service connects with a key that it
has for nothing else, in `<keys>/nats/<service>.pem`.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from ledger.bus.users import SERVICES, Service, User, service_rows, users_text
from ledger.errors import LedgerError, Unavailable
from ledger.keys import KeyFile, PublicKey, SigningKey
from ledger.registry import OPERATOR, SERVICE, Registry
from ledger.settings import Settings

log = structlog.get_logger(__name__)

Admit = Callable[[str], Awaitable[None]]
"""Has a list of users take effect: whom it does not name is thrown out."""

LOOK_SECONDS = 0.25
RETRY_SECONDS = 5.0
FILE_MODE = 0o644
"""The list is no secret, and the servers read it as somebody else."""


_AT_HOME: dict[str, Service] = {OPERATOR: "operator", SERVICE: "settler"}


class UsersNotWritten(Unavailable):
    """The list of users cannot be written where the servers read it."""

    code = "users-not-written"


def service_key_file(settings: Settings, service: Service) -> Path:
    """Where a service's key for NATS is."""
    return settings.keys_folder / "nats" / f"{service}.pem"


def service_user(settings: Settings, service: Service) -> User:
    """As whom a service connects; its key is made where there is none. Raises `KeyFile`."""
    path = service_key_file(settings, service)
    try:
        settings.keys_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFile(f"the folder of the keys cannot be made: {error.strerror}", where=str(path)) from error
    return User(settings.community.id, "service", service, SigningKey.load_or_create(path))


def user_of(settings: Settings, device: str, key: SigningKey) -> User:
    """As whom somebody connects who signs as `device`: by that key, but for operator and service, who have
    one for it. Raises `KeyFile`."""
    service = _AT_HOME.get(device)
    return service_user(settings, service) if service else User(settings.community.id, "device", device, key)


def service_keys(settings: Settings) -> dict[Service, PublicKey]:
    """The public keys of all services, made where there are none. Raises `KeyFile`."""
    return {service: service_user(settings, service).key.public for service in SERVICES}


def device_keys(registry: Registry) -> dict[str, PublicKey]:
    """The devices that may connect, by their valid keys."""
    return {
        name: device.key
        for name, device in sorted(registry.devices.items())
        if device.key is not None and name not in _AT_HOME
    }


def still_fits(text: str, community: str, services: dict[Service, PublicKey]) -> bool:
    """Whether a list of an earlier time lets these services in, each with the rights that it needs today."""
    return all(row in text for row in service_rows(community, services))


def write_users(path: Path, text: str) -> None:
    """Put a new list in the old one's place, whole or not at all. Raises `UsersNotWritten`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            draft.write(text)
            draft.flush()
            os.fchmod(draft.fileno(), FILE_MODE)
            os.fsync(draft.fileno())
        Path(draft.name).replace(path)
    except OSError as error:
        raise UsersNotWritten(
            f"cannot be written: {error.strerror}",
            where=str(path),
            hint="make the folder writable for the ledger",
        ) from error


def admit_by_file(settings: Settings) -> Admit | None:
    """What puts a list into the file from which the servers read it; nothing where the settings name none."""
    if not settings.nats.users_file:
        return None
    path = Path(settings.nats.users_file)

    async def admit(text: str) -> None:
        await asyncio.to_thread(write_users, path, text)

    return admit


class UserList:
    """Keeps the servers' list near the registry."""

    def __init__(self, community: str, services: dict[Service, PublicKey], admit: Admit) -> None:
        self._community = community
        self._services = services
        self._admit = admit
        self._known: dict[str, str] | None = None  # devices in the last list, with the ids of their keys

    async def refresh(self, registry: Registry) -> None:
        """Have those let in whom `registry` knows, if they are not yet. Raises as what admits them."""
        devices = device_keys(registry)
        known = {name: key.id for name, key in devices.items()}
        if known != self._known:
            await self._admit(users_text(self._community, self._services, devices))
            self._known = known
            log.info("users of nats listed", community=self._community, devices=len(known))

    async def keep(self, registry: Callable[[], Registry], stop: asyncio.Event) -> None:
        """Refresh until `stop` is set; what fails is told and tried again."""
        while not stop.is_set():
            seconds = LOOK_SECONDS
            try:
                await self.refresh(registry())
            except LedgerError as error:
                log.error("users not listed", code=error.code, detail=error.what, hint=error.hint)
                seconds = RETRY_SECONDS
            except (
                Exception
            ) as error:  # nobody waits for this task: a failure of our own would end it unheard
                log.error("users not listed", exc_info=error)
                seconds = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stop.wait()
