"""Other processes, for long arithmetic. They start afresh: a fork of a process with threads may hang."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Any

from ledger.errors import Unavailable


class WorkerLost(Unavailable):
    """A process that was to do a part of the work is gone."""

    code = "worker-lost"


def worker_pool(workers: int, prepare: Callable[..., None] | None = None, *given: Any) -> ProcessPoolExecutor:
    """Processes that live as long as this one at most; each calls `prepare` with what is given first."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, given))


def _begin(prepare: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that a person started
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*given)


def _end_with_parent() -> None:
    """The pool tells its processes to end; a program that was killed tells nobody anything."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
