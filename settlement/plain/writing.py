"""The files of a what-if. They appear when all has been settled, each of them whole, or not at all."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ledger.errors import BadInput
from settlement.journal import Posting
from settlement.market import Share, Trade
from settlement.standing import Standing

TRADES = ("interval_start", "seller", "buyer", "energy_milliwh", "price_micro_per_kwh", "amount_micro")
SHARES = ("interval_start", *Share._fields)
JOURNAL = ("interval_start", *Posting._fields)

_FILES = {
    "trades.csv": TRADES,
    "shares.csv": SHARES,
    "buildings.csv": Standing._fields,
    "journal.csv": JOURNAL,
}
_BUFFER_BYTES = 1 << 20
_DRAFT = ".what-if-"


class CannotWrite(BadInput):
    """The folder for the result cannot be written."""

    code = "cannot-write"


class ResultFiles:
    """Takes rows as they are settled."""

    def __init__(self, writers: dict[str, Any]) -> None:
        self._trades = writers["trades.csv"].writerows
        self._shares = writers["shares.csv"].writerows
        self._journal = writers["journal.csv"].writerows
        self._buildings = writers["buildings.csv"].writerows

    def interval(
        self, shown: str, trades: Iterable[Trade], shares: Iterable[Share], postings: Iterable[Posting]
    ) -> None:
        """One interval's rows."""
        start = (shown,)
        self._trades(start + trade[:5] for trade in trades)
        self._shares(start + share for share in shares)
        self._journal(start + posting for posting in postings)

    def buildings(self, standings: Iterable[Standing]) -> None:
        """The summary."""
        self._buildings(standings)


@contextmanager
def result_files(folder: Path) -> Iterator[ResultFiles]:
    """The files of a what-if on plain files, see `csv_files`."""
    with csv_files(folder, _FILES) as writers:
        yield ResultFiles(writers)


@contextmanager
def csv_files(folder: Path, headers: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """CSV writers of files that move into `folder` when the block ends well. Raises `CannotWrite`."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in headers:
            if folder.joinpath(each).is_dir():
                raise CannotWrite("a folder stands where a file is to be", where=str(folder / each))
        _remove_drafts(folder)
        with tempfile.TemporaryDirectory(prefix=f"{_DRAFT}{os.getpid()}-", dir=folder) as draft:
            with ExitStack() as files:
                writers = {}
                for each, header in headers.items():
                    path = Path(draft, each)
                    file = path.open("w", newline="", encoding="utf-8", buffering=_BUFFER_BYTES)
                    writers[each] = csv.writer(files.enter_context(file), lineterminator="\n")
                    writers[each].writerow(header)
                yield writers
            for each in headers:
                os.replace(Path(draft, each), folder / each)
    except BaseException as error:
        for empty in made:
            with suppress(OSError):
                os.rmdir(empty)
        if isinstance(error, OSError):
            raise CannotWrite(f"cannot be written: {error.strerror}", where=str(folder)) from error
        raise


def _remove_drafts(folder: Path) -> None:
    """What programs left behind that were killed."""
    for draft in folder.glob(f"{_DRAFT}*-*"):
        process = draft.name.removeprefix(_DRAFT).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(draft, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True
