"""What every sub-command shares: the configuration option, the environment, signals and logs."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import uvloop
from cyclopts import Parameter

log = structlog.get_logger(__name__)

T = TypeVar("T")

ConfigPath = Annotated[Path, Parameter(name=["--config", "-c"], env_var="ENERGY_LEDGER_CONFIG")]
"""The installation's settings file."""

RECANCEL_SECONDS = 1.0

DEFAULT_CONFIG = Path("energy-ledger.toml")


def environment() -> Mapping[str, str]:
    """The environment, read here and nowhere else."""
    return os.environ


def configure_logs(level: int = logging.INFO) -> None:
    """Constant text and fields to standard error: coloured for a person, JSON lines for a machine."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command that ends by itself. Ctrl-C and SIGTERM cancel it, so that all it holds is let go; then
    the program ends with the code that a shell knows this by, 130 or 143."""

    async def until_done() -> T:
        task = asyncio.ensure_future(main)
        received: list[signal.Signals] = []

        def cancel(number: signal.Signals) -> None:
            received.append(number)
            task.cancel()

        _on_signals(cancel)
        return await _ended(task, received)

    if not structlog.is_configured():
        configure_logs(logging.WARNING)  # on standard output there is nothing but what was asked for
    return _run(until_done())


def serve(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a service until SIGTERM or Ctrl-C sets its `stop`; a second signal cancels it as in `run`."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        task = asyncio.ensure_future(main(stop))
        received: list[signal.Signals] = []

        def ask(number: signal.Signals) -> None:
            log.info("asked to stop", signal=number.name)
            if stop.is_set():
                received.append(number)
                task.cancel()
            stop.set()

        _on_signals(ask)
        await _ended(task, received)

    _run(until_stopped())


class _Interrupted(Exception):
    """A signal cancelled what was running."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number


async def _ended(task: "asyncio.Task[T]", received: Sequence[signal.Signals]) -> T:
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise  # nobody asked for it: a service that just vanished would look like one that was stopped
        raise _Interrupted(received[0]) from None


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        return uvloop.run(main)
    except _Interrupted as interrupted:
        sys.exit(interrupted.exit_code)


def _on_signals(react: Callable[[signal.Signals], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, react, number)
