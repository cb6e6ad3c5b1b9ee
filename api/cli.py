"""`energy-ledger`: one command, whose sub-commands live in their packages and are loaded when used."""

import inspect
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ledger.errors import BadInput, LedgerError
from ledger.output import end_output, let_go, open_output, told_as

if TYPE_CHECKING:
    from cyclopts import App


class WrongArguments(BadInput):
    """The command line asks for what there is not, or leaves out what is needed."""

    code = "wrong-arguments"


class Command(NamedTuple):
    """A sub-command: its words, where its function is, and its line in the overview."""

    words: str
    place: str
    help: str


COMMANDS: dict[str, tuple[Command, ...]] = {
    "Feel it": (
        Command("demo", "api.demo_commands:demo", "A campus of five buildings in a minute, on real parts."),
        Command("init", "api.installation_commands:init", "Write a settings file to start from."),
        Command("up", "api.installation_commands:up", "Run a real installation from its settings file."),
        Command("doctor", "api.installation_commands:doctor", "Say what is wrong and what to do."),
        Command("status", "ledger.book_commands:status", "Show the book, its meters and devices."),
    ),
    "Audit": (
        Command("export", "ledger.audit_commands:export", "Write a self-contained book to a file."),
        Command("verify", "api.audit_commands:verify", "Verify such a file, with the ledger off."),
        Command("seal", "ledger.book_commands:seal", "Seal all events so far into a block now."),
    ),
    "Trade": (
        Command("order place", "settlement.order_commands:place", "Sell or buy at a limit from now on."),
        Command("order cancel", "settlement.order_commands:cancel", "Let an order hold no longer."),
        Command("order list", "settlement.order_commands:orders", "List what holds, held and will hold."),
        Command("agreement propose", "settlement.order_commands:propose", "Offer a neighbour a fixed price."),
        Command("agreement accept", "settlement.order_commands:accept", "Agree to what was proposed."),
        Command("agreement end", "settlement.order_commands:end", "End an agreement or a proposal."),
        Command("agreement list", "settlement.order_commands:agreements", "List agreements and proposals."),
    ),
    "Settle": (
        Command("settle", "settlement.settler_commands:settle", "Settle now what has closed or changed."),
        Command("runs", "settlement.settler_commands:runs", "List the settlement runs."),
        Command("invoices", "settlement.billing_commands:invoices", "Draft or issue a month's invoices."),
        Command("credit", "settlement.billing_commands:credit", "Cancel an invoice by a credit note."),
        Command("statement", "settlement.account_commands:statement", "Show a building's month by days."),
        Command("balances", "settlement.account_commands:balances", "Show what accounts got and gave."),
        Command("journal", "settlement.account_commands:journal", "Write a month's journal for the books."),
        Command("prove", "settlement.billing_commands:prove", "From an invoice's line to signed readings."),
        Command("what-if", "settlement.plain_commands:what_if", "Settle energies under other rules."),
        Command("mechanisms", "settlement.mechanism_commands:mechanisms", "Explain the ways to trade."),
        Command("bill", "settlement.plain_commands:bill", "Recompute a utility bill from its load."),
        Command("tariffs", "settlement.plain_commands:tariffs", "List the tariffs that there are."),
    ),
    "Operate": (
        Command("alarms", "ledger.book_commands:alarms", "List the alarms that gateways raised."),
        Command("quarantine", "ledger.book_commands:quarantine", "List what was refused and why."),
        Command("rebuild", "ledger.book_commands:rebuild", "Build all projections anew and swap them in."),
        Command("provision", "api.installation_commands:provision", "Bring the registry up to the settings."),
        Command("migrate", "ledger.book_commands:migrate", "Bring the database to this version."),
    ),
    "Devices and keys": (
        Command("device request", "ledger.device_commands:request", "Make a key and a request to enrol it."),
        Command("device enrol", "ledger.device_commands:enrol", "Approve a device's request."),
        Command("device rotate", "ledger.device_commands:rotate", "Go on with a new key."),
        Command("device revoke", "ledger.device_commands:revoke", "Accept nothing more from a device."),
        Command("nats users", "ledger.bus_commands:users", "List who may connect, for servers of NATS."),
    ),
    "Keys of the API": (
        Command("key create", "api.access_commands:create", "Make a key for somebody of a role."),
        Command("key list", "api.access_commands:keys", "List keys, without their secrets."),
        Command("key rotate", "api.access_commands:rotate", "Make a key in the place of another."),
        Command("key revoke", "api.access_commands:revoke", "Let a key open nothing any more."),
    ),
    "People": (
        Command("person add", "api.people_commands:add", "Let somebody log in to the API by a password."),
        Command("person list", "api.people_commands:people", "List who may log in, and who might before."),
        Command("person password", "api.people_commands:password", "Give somebody another password."),
        Command("person end", "api.people_commands:end", "Let somebody log in no more."),
    ),
    "On site": (
        Command("meter scan", "ingest.meter_commands:scan", "Find the meters behind a converter."),
        Command("meter test", "ingest.meter_commands:test", "Read one meter and say what is odd."),
        Command("meter models", "ingest.meter_commands:models", "List the meter models known."),
        Command("simulate", "ingest.meter_commands:simulate", "Serve simulated meters over Modbus."),
    ),
    "Run one service": (
        Command("writer", "ledger.book_commands:writer", "The one appender of a community."),
        Command("projector", "ledger.book_commands:projector", "Keeps the tables near the book."),
        Command("settler", "settlement.settler_commands:settler", "Settles intervals when they close."),
        Command("serve", "api.serve_commands:serve", "Serves the API over HTTP."),
        Command("gateway", "ingest.gateway_commands:gateway", "Reads meters and sends what they say."),
    ),
}
"""Every sub-command under the heading it is shown with."""

GROUPS = {
    "order": "What a building would sell or buy at a limit: place, cancel, list.",
    "agreement": "A fixed price with one neighbour: propose, accept, end, list.",
    "device": "Keys of devices: request, enrol, rotate, revoke.",
    "nats": "Servers of NATS: who may connect to them.",
    "key": "Keys of the API: create, list, rotate, revoke.",
    "person": "People who log in to the API by a password: add, list, password, end.",
    "meter": "For an installer on site: scan, test, models.",
}
"""First words that have several commands behind them."""


def build_app(arguments: Sequence[str] = ()) -> "App":
    """The command line, nothing of its commands loaded yet.

    The command that `arguments` begin with speaks for itself, by its docstring; the others by their line.
    """
    asked = {" ".join(arguments[:count]) for count in (1, 2)}
    from importlib.metadata import version  # noqa: PLC0415 - all that takes time is loaded here, see `main`

    from cyclopts import App, Group  # noqa: PLC0415 - likewise

    app = App(
        name="energy-ledger",
        help="A book of energy facts for buildings that trade solar surplus.",
        version=version("p2p-energy-ledger"),
    )
    groups: dict[str, App] = {}
    for heading, commands in COMMANDS.items():
        shown = Group.create_ordered(heading)
        for command in commands:
            first, _, second = command.words.partition(" ")
            help_text = None if command.words in asked else command.help
            if not second:
                app.command(command.place, name=first, group=shown, help=help_text)
                continue
            if first not in groups:
                groups[first] = App(name=first, help=GROUPS[first], group=shown)
                app.command(groups[first])
            groups[first].command(command.place, name=second, help=help_text)
    return app


def main() -> None:
    """Run the command that the arguments name; coded errors are told to people, not thrown at them."""
    try:
        with _ended_by_ctrl_c():
            open_output()
            command, bound = _parsed(sys.argv[1:])
        command(*bound.args, **bound.kwargs)
        end_output()
    except LedgerError as error:
        _end(error)
    except OSError as error:
        if (told := told_as(error)) is None:
            raise
        _end(told)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _end_by_ctrl_c()  # the interpreter's own end is a moment in which it would be a traceback, or nothing


def _parsed(arguments: Sequence[str]) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """The command that the arguments name, and what it is called with. Raises `WrongArguments`."""
    from cyclopts import CycloptsError, UnusedCliTokensError  # noqa: PLC0415 - see `build_app`

    try:
        command, bound, _ = build_app(arguments).parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        error.verbose = False
        what, _, hint = str(error).removesuffix(".").partition(". ")
        if isinstance(error, UnusedCliTokensError):
            what = f"nothing is asked for that would be {' '.join(error.unused_tokens or ())}"
            hint = (
                "an option that takes several values is given anew with each: --rules a.toml --rules b.toml"
            )
        words = " ".join(["energy-ledger", *(error.command_chain or ())])
        told = f"`{words} --help` tells what is asked for"
        raise WrongArguments(what, hint=f"{hint}; {told}" if hint else told) from error
    return command, bound


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C end the program without a word: while it is still loading it holds nothing to let go of."""
    before = signal.getsignal(signal.SIGINT)
    _end_by_ctrl_c()
    yield
    signal.signal(signal.SIGINT, before)


def _end_by_ctrl_c() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(error: LedgerError) -> NoReturn:
    from rich.console import Console  # noqa: PLC0415 - loaded when there is something to tell

    try:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(error.diagnostics())
    except OSError:
        let_go(sys.stderr)  # the exit code says it
    sys.exit(error.exit_code)
