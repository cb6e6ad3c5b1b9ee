"""What every sub-command shares: the configuration option, the environment, signals and logs."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import uvloop
from cyclopts import Parameter

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
    """Run a command that ends by itself. Ctrl-C and SIGTERM cancel it, so that all it holds is let go."""
    return uvloop.run(_cancelled_by_signal(main))


async def _cancelled_by_signal(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(main)
    _on_signals(lambda: _cancel_until_done(task))
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def serve(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a service until SIGTERM or Ctrl-C sets its `stop`; a second signal cancels it."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        task = asyncio.ensure_future(main(stop))

        def ask() -> None:
            if stop.is_set():
                _cancel_until_done(task)
            stop.set()

        _on_signals(ask)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    uvloop.run(until_stopped())


def _cancel_until_done(task: asyncio.Future[Any]) -> None:
    """Cancel, and again: `asyncio.wait_for` of Python 3.11 can swallow a cancellation (cpython #86296)."""
    if not task.done():
        task.cancel()
        asyncio.get_running_loop().call_later(RECANCEL_SECONDS, _cancel_until_done, task)


def _on_signals(react: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, react)
