"""The command that says who may connect to NATS, for servers that the ledger does not start itself."""

from pathlib import Path

from rich.console import Console

from ledger.book_commands import book_settings
from ledger.bus.users import users_text
from ledger.bus_users import device_keys, service_keys, write_users
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, run
from ledger.services import registry_of
from ledger.words import counted

out = Console(highlight=False, soft_wrap=True, markup=False)


def users(*, to: Path | None = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List who may connect to NATS, by public key, as nats-server's configuration includes it.

    Services come first: their keys are made where there are none. Then follow the devices that the book knows
    by now. The list goes where `users_file` under [nats] says; the writer keeps it near the book there.

    Parameters
    ----------
    to
        Where to write it instead; without this and without `users_file` it is printed.
    """
    settings = book_settings(config)
    services = service_keys(settings)
    devices = device_keys(run(registry_of(settings)))
    text = users_text(settings.community.id, services, devices)
    path = to or (Path(settings.nats.users_file) if settings.nats.users_file else None)
    if path is None:
        out.print(text, end="")
        return
    write_users(path, text)
    who = f"{counted(len(services), 'service')} and {counted(len(devices), 'device')}"
    out.print(f"{who} may connect: {path} is written; a server reads it at its start and when it is reloaded")
