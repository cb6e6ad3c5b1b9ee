"""A CSV file with a header, read row by row; what is wrong is told with the file, the line and the column."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ledger.errors import BadInput
from ledger.words import did_you_mean
from settlement.plain.values import BadCell

T = TypeVar("T")


class NoPlainFile(BadInput):
    """A file is not there or is no CSV with the columns that are asked for."""

    code = "no-plain-file"


class Row(NamedTuple):
    """One line, and where the columns stand in it."""

    number: int
    cells: Sequence[str]
    places: Mapping[str, int]
    path: Path

    def take(self, column: str, read: Callable[[str], T]) -> T:
        """What `read` makes of a cell. A `BadCell` that it raises is told with the place."""
        try:
            return read(self.cells[self.places[column]])
        except BadCell as error:
            error.where = f"{self.path}: line {self.number}, {column}"
            raise


class Table(NamedTuple):
    """An open file: where its columns stand, and its rows."""

    path: Path
    places: Mapping[str, int]
    rows: Iterator[Row]

    def need(self, columns: Iterable[str]) -> None:
        """Return if there are these columns. Raises `NoPlainFile`."""
        for name in columns:
            if name not in self.places:
                meant = did_you_mean(name, self.places)
                raise NoPlainFile(
                    f"there is no column {name}",
                    where=f"{self.path}: line 1",
                    hint=f"{meant}the first line names the columns: {', '.join(self.places)}",
                )


@contextmanager
def open_table(path: Path, columns: Sequence[str]) -> Iterator[Table]:
    """A file that has these columns and perhaps others. Raises `NoPlainFile`."""
    try:
        file = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise NoPlainFile(f"cannot be opened: {error.strerror}", where=str(path)) from error
    with file:
        reader = csv.reader(file, strict=True)
        _, header = next(_lines(reader, path), (0, []))
        names = [name.strip() for name in header]
        if len(set(names)) < len(names):
            raise NoPlainFile("two columns have one name", where=f"{path}: line 1")
        places = {name: place for place, name in enumerate(names)}
        table = Table(path, places, _rows(reader, places, path))
        table.need(columns)
        yield table


def _lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers; what the library raises becomes ours."""
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise NoPlainFile(f"this is no CSV: {error}", where=f"{path}: line {reader.line_num + 1}") from error


def _rows(reader: Any, places: Mapping[str, int], path: Path) -> Iterator[Row]:
    for number, cells in _lines(reader, path):
        if len(cells) != len(places):
            raise NoPlainFile(
                f"there are {len(cells)} cells, the header has {len(places)}", where=f"{path}: line {number}"
            )
        yield Row(number, cells, places, path)
