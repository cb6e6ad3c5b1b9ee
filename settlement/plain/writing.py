"""The files of a what-if. They appear when all has been settled, each of them whole, or not at all."""

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

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
_OF_INTERVALS = ("trades.csv", "shares.csv", "journal.csv")
_MORE = ".more"
_QUOTED = re.compile('[",\r\n]')
_BUFFER_BYTES = 1 << 20
_DRAFT = ".what-if-"


class CsvFile(NamedTuple):
    """An open file, and what writes rows into it."""

    text: TextIO
    rows: Any  # a csv.writer, whose class has no public name


class CannotWrite(BadInput):
    """The folder for the result cannot be written."""

    code = "cannot-write"


class RowFiles:
    """Takes rows as they are settled. Those of intervals are millions, and are put together here: the library
    looks at each cell for what has to be quoted, and only names can have it."""

    def __init__(self, files: Mapping[str, TextIO]) -> None:
        self._trades = files["trades.csv"].write
        self._shares = files["shares.csv"].write
        self._journal = files["journal.csv"].write

    def interval(
        self, shown: str, trades: Iterable[Trade], shares: Iterable[Share], postings: Iterable[Posting]
    ) -> None:
        """One interval's rows."""
        start = _cell(shown)
        self._trades(
            "".join(
                [
                    f"{start},{_cell(seller)},{_cell(buyer)},{energy},{price},{amount}\n"
                    for seller, buyer, energy, price, amount, *_ in trades
                ]
            )
        )
        self._shares(
            "".join(
                [
                    f"{start},{_cell(building)},{share},{used},{residual}\n"
                    for building, share, used, residual in shares
                ]
            )
        )
        self._journal(
            "".join(
                [
                    f"{start},{kind},{_cell(account)},{energy},{amount}\n"
                    for kind, account, energy, amount in postings
                ]
            )
        )


class ResultFiles(RowFiles):
    """All files of a what-if, in the draft's `folder`."""

    def __init__(self, files: Mapping[str, CsvFile]) -> None:
        super().__init__({name: file.text for name, file in files.items()})
        self._files = files
        self.folder = Path(files["trades.csv"].text.name).parent

    def append_rows(self) -> None:
        """Take over the rows that `more_rows` brought, which come after those that are here already."""
        for name in _OF_INTERVALS:
            file = self._files[name].text
            file.flush()
            with (self.folder / f"{name}{_MORE}").open("rb") as more:
                shutil.copyfileobj(more, file.buffer, _BUFFER_BYTES)

    def buildings(self, standings: Iterable[Standing]) -> None:
        """The summary."""
        self._files["buildings.csv"].rows.writerows(standings)


@contextmanager
def more_rows(folder: Path) -> Iterator[RowFiles]:
    """Rows for the files in a draft's folder, written by another process."""
    with ExitStack() as files:
        yield RowFiles(
            {name: files.enter_context(_opened(folder / f"{name}{_MORE}")) for name in _OF_INTERVALS}
        )


def _opened(path: Path) -> TextIO:
    return path.open("w", newline="", encoding="utf-8", buffering=_BUFFER_BYTES)


@lru_cache(100_000)
def _cell(text: str) -> str:
    """A name, or an instant as it was written, as a cell (RFC 4180)."""
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text


@contextmanager
def result_files(folder: Path) -> Iterator[ResultFiles]:
    """The files of a what-if on plain files, see `csv_files`."""
    with csv_files(folder, _FILES) as files:
        yield ResultFiles(files)


@contextmanager
def csv_files(folder: Path, headers: Mapping[str, Sequence[str]]) -> Iterator[dict[str, CsvFile]]:
    """Files of CSV that move into `folder` when the block ends well. Raises `CannotWrite`."""
    made: list[Path] = []
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in headers:
            if folder.joinpath(each).is_dir():
                raise CannotWrite("a folder stands where a file is to be", where=str(folder / each))
        _remove_drafts(folder)
        with tempfile.TemporaryDirectory(prefix=f"{_DRAFT}{os.getpid()}-", dir=folder) as draft:
            with ExitStack() as files:
                opened = {}
                for each, header in headers.items():
                    text = files.enter_context(_opened(Path(draft, each)))
                    opened[each] = CsvFile(text, csv.writer(text, lineterminator="\n"))
                    opened[each].rows.writerow(header)
                yield opened
            _replace(folder, Path(draft), list(headers))
    except BaseException as error:
        for empty in made:
            with suppress(OSError):
                os.rmdir(empty)
        if isinstance(error, OSError):
            raise CannotWrite(f"cannot be written: {error.strerror}", where=str(folder)) from error
        raise


def _replace(folder: Path, draft: Path, names: Sequence[str]) -> None:
    """Put the files of a draft into the place of those of before; where one cannot, all of those come back.

    A program that is killed meanwhile leaves fewer files than there should be, and never old ones among new.
    """
    before = [name for name in names if folder.joinpath(name).exists()]
    aside = draft / "before"
    aside.mkdir()
    moved: list[str] = []
    try:
        for name in before:
            os.replace(folder.joinpath(name), aside.joinpath(name))
            moved.append(name)
        for name in names:
            os.replace(draft.joinpath(name), folder.joinpath(name))
    except OSError:
        for name in set(names).difference(before):
            folder.joinpath(name).unlink(missing_ok=True)
        for name in moved:
            os.replace(aside.joinpath(name), folder.joinpath(name))
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
