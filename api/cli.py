"""`energy-ledger`: one command, whose sub-commands live in their packages and are loaded when they are used."""

import sys
from importlib.metadata import version

from cyclopts import App
from rich.console import Console

from ledger.errors import LedgerError

COMMANDS: dict[str, dict[str, str]] = {
    "Feel it": {
        "demo": "api.demo_commands:demo",
        "init": "api.installation_commands:init",
        "up": "api.installation_commands:up",
        "doctor": "api.installation_commands:doctor",
        "status": "ledger.book_commands:status",
    },
    "Audit": {
        "export": "ledger.audit_commands:export",
        "verify": "ledger.audit_commands:verify",
        "seal": "ledger.book_commands:seal",
    },
    "Operate": {
        "alarms": "ledger.book_commands:alarms",
        "quarantine": "ledger.book_commands:quarantine",
        "rebuild": "ledger.book_commands:rebuild",
        "migrate": "ledger.book_commands:migrate",
    },
    "Run one service": {
        "writer": "ledger.book_commands:writer",
        "projector": "ledger.book_commands:projector",
        "gateway": "ingest.gateway_commands:gateway",
    },
}
"""Commands by the heading they are shown under: name -> where they live."""

GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "meter": (
        "For an installer on site: find meters, test one, list models, simulate.",
        {
            "scan": "ingest.meter_commands:scan",
            "test": "ingest.meter_commands:test",
            "models": "ingest.meter_commands:models",
            "simulate": "ingest.meter_commands:simulate",
        },
    ),
    "device": (
        "Keys of devices: request, enrol, rotate, revoke.",
        {
            "request": "ledger.device_commands:request",
            "enrol": "ledger.device_commands:enrol",
            "rotate": "ledger.device_commands:rotate",
            "revoke": "ledger.device_commands:revoke",
        },
    ),
}
"""Commands with sub-commands: name -> help and where they live."""


def build_app() -> App:
    """The command line, nothing of it loaded yet."""
    app = App(
        name="energy-ledger",
        help="A book of energy facts for buildings that trade solar surplus.",
        version=version("p2p-energy-ledger"),
        help_format="markdown",
    )
    for heading, commands in COMMANDS.items():
        for name, place in commands.items():
            app.command(place, name=name, group=heading)
    for name, (text, commands) in GROUPS.items():
        group = App(name=name, help=text)
        for sub, place in commands.items():
            group.command(place, name=sub)
        app.command(group, group="On site and on devices")
    return app


def main() -> None:
    """Run the command that the arguments name; coded errors are told to people, not thrown at them."""
    try:
        build_app()()
    except LedgerError as error:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(error.diagnostics())
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
