"""What every sub-command shares: the configuration option, the environment, signals and logs."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
import uvloop
from cyclopts import Parameter

from ledger.output import let_go

log = structlog.get_logger(__name__)

T = TypeVar("T")

ConfigPath = Annotated[Path, Parameter(name=["--config", "-c"], env_var="ENERGY_LEDGER_CONFIG")]
"""The installation's settings file."""

STOPPING = (signal.SIGINT, signal.SIGTERM)

DEFAULT_CONFIG = Path("energy-ledger.toml")


def environment() -> Mapping[str, str]:
    """The environment, read here and nowhere else."""
    return os.environ


def tell_libraries(name: str, value: str) -> None:
    """Set what a library reads in the environment and nowhere else."""
    os.environ[name] = value


def configure_logs(level: int = logging.INFO) -> None:
    """Constant text and fields to standard error: coloured for a person, JSON lines for a machine."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Log(),
    )


def _line(event: Any, default: Callable[[Any], Any]) -> str:
    """A line of JSON; what is no Unicode text is escaped, and not worth losing the line for."""
    try:
        return msgspec.json.encode(event, enc_hook=default).decode()
    except (UnicodeError, TypeError, msgspec.MsgspecError):
        return json.dumps(event, default=default)


class _Log:
    """Standard error for logs: that nobody reads them any more, or a full disk, must not keep a service from
    its work, nor from stopping."""

    def msg(self, message: str) -> None:
        try:
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
        except BrokenPipeError:
            let_go(sys.stderr)
        except OSError:
            pass

    debug = info = warning = error = critical = exception = msg


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command that ends by itself. Ctrl-C and SIGTERM cancel it, so that all it holds is let go; then
    the program ends with the code that a shell knows this by, 130 or 143.

    The loop's own signal handlers would begin too late and end too early: what comes between its last step
    and its end they drop, and afterwards they leave SIGINT to a handler that does nothing.
    """
    received: list[int] = []
    cancels: list[Callable[[], object]] = []

    def hear(number: int, frame: object) -> None:
        received.append(number)
        for cancel in cancels:
            cancel()

    async def until_done() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)
        cancels.append(lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel))
        if received:
            task.cancel()
        return await task

    if not structlog.is_configured():
        configure_logs(logging.WARNING)  # on standard output there is nothing but what was asked for
    before = {number: signal.signal(number, hear) for number in STOPPING}
    try:
        result = _run(until_done(), received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        sys.exit(128 + received[0])
    return result


def serve(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a service until SIGTERM or Ctrl-C sets its `stop`; a second signal cancels it as in `run`."""
    received: list[int] = []

    async def until_stopped() -> None:
        stop = asyncio.Event()
        task = asyncio.ensure_future(main(stop))

        def ask(number: signal.Signals) -> None:
            if stop.is_set():
                received.append(number)
                task.cancel()
            stop.set()
            log.info("asked to stop", signal=number.name)

        for number in STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, ask, number)
        await task

    _run(until_stopped(), received)


def _run(main: Coroutine[Any, Any, T], received: Sequence[int]) -> T:
    """Run to the end; what a received signal cancelled ends the program."""
    try:
        return uvloop.run(main)
    except asyncio.CancelledError:
        if not received:
            raise  # nobody asked for it: a service that just vanished would look like one that was stopped
        sys.exit(128 + received[0])
