"""Other processes, for long arithmetic. They start afresh: a fork of a process with threads may hang."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Any, Generic, Self, TypeVar, cast

from ledger.errors import LedgerError, Unavailable

T = TypeVar("T")


class WorkerLost(Unavailable):
    """A process that was to do a part of the work is gone."""

    code = "worker-lost"


def worker_pool(workers: int, prepare: Callable[..., None] | None = None, *given: Any) -> ProcessPoolExecutor:
    """Processes that live as long as this one at most; each calls `prepare` with what is given first."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, given))


class Aside(Generic[T]):
    """One piece of work in a process of its own, which ends with the block."""

    def __init__(self, work: Callable[..., T], *given: Any) -> None:
        context = get_context("spawn")
        self._said, says = context.Pipe(duplex=False)
        self._process = context.Process(target=_do, args=(says, work, given), daemon=True)
        self._process.start()
        says.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._said.close()

    def result(self) -> T:
        """What came of it, when it has. Raises the `LedgerError` that it raised, and `WorkerLost`."""
        try:
            error, result = self._said.recv()
        except (EOFError, OSError) as lost:
            raise WorkerLost(
                "a process that did a part of the work ended by itself", hint="is there memory enough?"
            ) from lost
        if error is not None:
            raise error
        return cast(T, result)


def _do(says: "connection.Connection", work: Callable[..., T], given: tuple[Any, ...]) -> None:
    _begin(None, ())
    try:
        says.send((None, work(*given)))
    except LedgerError as error:
        says.send((error, None))


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
