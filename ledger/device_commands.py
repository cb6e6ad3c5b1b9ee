"""Commands for the life of a key: request, enrol, rotate, revoke. Each becomes an event in the book."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from ledger.book_commands import book_settings
from ledger.bus import Bus
from ledger.bus_users import user_of
from ledger.client import BookClient
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.entry import is_name
from ledger.errors import BadInput
from ledger.event import Event, Role
from ledger.events import KeyEnrolled, KeyRevoked
from ledger.keys import KeyFile, SigningKey
from ledger.opening import enrolment, rotation, service_public
from ledger.postgres.connection import APP, close, connect
from ledger.postgres.turns import turn
from ledger.registry import OPERATOR, SERVICE, Registry
from ledger.services import registry_of
from ledger.settings import Settings, device_settings, read_toml

out = Console(highlight=False, soft_wrap=True, markup=False)


class RequestInvalid(BadInput):
    """An enrolment request cannot be read."""

    code = "request-invalid"


def request(device: str, *, role: Role = "gateway", key_file: Path, community: str) -> None:
    """On the device: make its key and print the request that an operator enrols it with.

    Parameters
    ----------
    device
        The device's name in the book.
    role
        gateway (reads meters), meter (signs its own readings) or building (signs its own orders).
    key_file
        Where the private key is kept; it is made if it does not exist and never leaves this machine.
    community
        The community that the device belongs to.
    """
    for name in (device, community):
        if not is_name(name):
            raise RequestInvalid(
                "this is not a name the book allows", where=name, hint="letters a-z, digits, `.`, `_` and `-`"
            )
    key = _own_key(key_file)
    out.print(msgspec.json.encode(enrolment(community, device, role, key)).decode())


def enrol(request_file: Path, *, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """On the ledger: approve a device's request and write its key into the book.

    Parameters
    ----------
    request_file
        What `energy-ledger device request` printed on the device. Compare the key with the device's own.
    """
    try:
        event = msgspec.json.decode(request_file.read_bytes(), type=KeyEnrolled)
    except (OSError, msgspec.DecodeError) as error:
        raise RequestInvalid(f"this is not an enrolment request: {error}", where=str(request_file)) from error
    settings = book_settings(config)
    run(_tell(settings, lambda _: event))
    out.print(f"{event.device} is enrolled as {event.role} with key {event.public_key}")
    if event.role == "gateway":
        out.print("`energy-ledger provision`, or the next `up`, assigns it the meters that the settings list")


def rotate(device: str, *, key_file: Path, new_key_file: Path, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """On the device: go on with a new key. The old one signs the change and is worth nothing after it.

    Parameters
    ----------
    device
        The device's name in the book.
    key_file
        The key in use.
    new_key_file
        The next key; it is made if it does not exist.
    """
    if device == SERVICE:
        raise RequestInvalid(
            "the service's key is not rotated",
            where=device,
            hint="devices hold it to check receipts: open a new book if it was stolen",
        )
    settings = device_settings(read_toml(config, environment()), config)
    new = _own_key(new_key_file)
    event = rotation(settings.community.id, device, new)
    run(_append(settings, device, key_file, f"device/{device}", [event]))
    out.print(f"{device} goes on with key {new.public.id}; restart it with {new_key_file}")


def revoke(device: str, *, reason: str, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """On the ledger: nothing more that this device signs is accepted, from this point of the book on.

    Parameters
    ----------
    device
        The device's name in the book.
    reason
        Why, in a few words; it stays in the book.
    """
    settings = book_settings(config)
    run(_tell(settings, lambda registry: _revocation(registry, device, reason)))
    out.print(f"the key of {device} is revoked")


def _own_key(path: Path) -> SigningKey:
    """The key in `path`, made if there is none; its folder must be there. Raises `KeyFile`."""
    if not path.absolute().parent.is_dir():
        raise KeyFile("there is no such folder", where=str(path.absolute().parent), hint="make it first")
    return SigningKey.load_or_create(path)


def _revocation(registry: Registry, device: str, reason: str) -> KeyRevoked:
    known = registry.devices.get(device)
    if known is None or known.key is None:
        raise RequestInvalid(
            "no such device has a valid key", where=device, hint="`energy-ledger status` lists the devices"
        )
    return KeyRevoked(device=device, key=known.key.id, reason=reason)


async def _tell(settings: Settings, made: Callable[[Registry], KeyEnrolled | KeyRevoked]) -> None:
    """Append to the registry what is made of it as it stands, in a turn as the API takes it.

    What it would not take is told and not sent: a slip is nothing for quarantine. Raises `Contradiction`, and
    what `made` raises.
    """
    connection = await connect(settings.postgres, name="device commands", role=APP)
    try:
        async with turn(connection, f"{settings.community.id} registry"):
            registry = await registry_of(settings)
            event = made(registry)
            registry.apply(event)
            await _append(settings, OPERATOR, settings.keys_folder / "operator.pem", "registry", [event])
    finally:
        await close(connection)


async def _append(
    settings: Settings, device: str, key_file: Path, stream: str, events: Sequence[Event]
) -> None:
    key = SigningKey.load(key_file)
    service = service_public(settings.keys_folder)
    user = user_of(settings, device, key)
    async with await Bus.connect(settings.nats, f"commands of {device}", user) as bus:
        client = BookClient(bus, settings.community.id, device, key, service)
        await client.open()
        await client.append(stream, events)
