"""What commands print: nothing of it ends in a traceback, whatever it is written to."""

import codecs
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ledger.errors import BadInput, LedgerError, Unavailable

ESCAPED = "ledger.escaped"


class OutputLost(Unavailable):
    """What a command has to say cannot be written where it was to go."""

    code = "output-lost"


class FileUnusable(BadInput):
    """A file that was named cannot be read or written, and nothing closer by has said so."""

    code = "file-unusable"


def open_output() -> None:
    """Have standard output and standard error escape what their encoding lacks, and lost output told.

    A name in Thai must not end a command on a terminal of ASCII when its work is done.
    """
    codecs.register_error(ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    if type(sys.stdout) is io.TextIOWrapper:
        options = {
            name: getattr(sys.stdout, name) for name in ("encoding", "line_buffering", "write_through")
        }
        sys.stdout = _Output(sys.stdout.detach(), errors=ESCAPED, **options)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters as JSON escapes them, so that JSON stays what it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return re.sub("(....)", r"\\u\1", units), error.end


def end_output() -> None:
    """Write what is left in the buffer. Raises `OutputLost`."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.flush()


class _Output(io.TextIOWrapper):
    """Standard output that tells when what is written to it gets nowhere."""

    def write(self, text: str, /) -> int:
        with self._told():
            return super().write(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            let_go(self)
            sys.exit(128 + signal.SIGPIPE)  # who reads has seen enough
        except OSError as error:
            let_go(self)
            raise OutputLost(
                f"the output cannot be written: {error.strerror}",
                where="standard output",
                hint="what the command has changed is changed; send its output to where there is room",
            ) from error


def let_go(stream: TextIO) -> None:
    """What is left in the buffer would fail again at the program's end, and change its exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def told_as(error: OSError) -> LedgerError | None:
    """What the system says of a file by its name, as a coded error; none where it names no file."""
    if error.filename is None:
        return None
    return FileUnusable(f"this file cannot be used: {error.strerror}", where=os.fsdecode(error.filename))
