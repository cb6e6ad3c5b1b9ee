"""Other processes, for long arithmetic. They start afresh: a fork of a process with threads may hang."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Any, Generic, Self, TypeVar, cast

from ledger.errors import Unavailable

T = TypeVar("T")


_GONE = "a process that did a part of the work ended by itself"
_HINT = "is there memory enough? trying again may help"


class WorkerLost(Unavailable):
    """A process that was to do a part of the work is gone, or could not be started."""

    code = "worker-lost"

    def __init__(self, what: str = _GONE, *, where: str = "", hint: str = _HINT) -> None:
        super().__init__(what, where=where, hint=hint)


@contextmanager
def lost_workers_told(where: str = "") -> Iterator[None]:
    """What a pool raises when a process is gone or cannot be started, as `WorkerLost`."""
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerLost(where=where) from error
    except OSError as error:
        what = f"a process for a part of the work cannot be started: {error.strerror}"
        raise WorkerLost(what, where=where) from error


def worker_pool(workers: int, prepare: Callable[..., None] | None = None, *given: Any) -> ProcessPoolExecutor:
    """Processes that live as long as this one at most; each calls `prepare` with what is given first."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, given))


class Aside(Generic[T]):
    """One piece of work in a process of its own, which ends with the block."""

    def __init__(self, work: Callable[..., T], *given: Any) -> None:
        context = get_context("spawn")
        self._said, says = context.Pipe(duplex=False)
        self._process = context.Process(target=_do, args=(says, work, given), daemon=True)
        with closing(says), lost_workers_told():
            self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._said.close()

    def result(self) -> T:
        """What came of it, when it has. Raises what it raised, and `WorkerLost`."""
        try:
            error, result = self._said.recv()
        except (EOFError, OSError) as lost:
            raise WorkerLost from lost
        if error is not None:
            raise error
        return cast(T, result)


def _do(says: "connection.Connection", work: Callable[..., T], given: tuple[Any, ...]) -> None:
    _begin(None, ())
    try:
        says.send((None, work(*given)))
    except Exception as error:
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
