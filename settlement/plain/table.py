"""A CSV file with a header, read row by row; what is wrong is told with the file, the line and the column."""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ledger.errors import BadInput
from ledger.words import did_you_mean

LINE_MAX = 1 << 16
"""Characters in a line: a longer one is no line of a table, and is not read to its end."""


class NoPlainFile(BadInput):
    """A file is not there or is no CSV with the columns that are asked for."""

    code = "no-plain-file"


class Column(NamedTuple):
    """A column by its name, and what makes a value of its cells."""

    name: str
    read: Callable[[str], Any]


Choice = Mapping[str, Callable[[str], Any]]
"""Columns of which a table has just one, by name, and what makes a value of their cells."""

_PARTED_BY = {";": "semicolons", "\t": "tabs"}


class Table(NamedTuple):
    """An open file: where its columns stand, how many there are, and its lines with their numbers."""

    path: Path
    places: Mapping[str, int]
    width: int
    lines: Iterator[tuple[int, list[str]]]

    def need(self, columns: Sequence[str], choices: Sequence[Choice]) -> None:
        """Return if there are these columns, and of each choice just one. Raises `NoPlainFile`."""
        for choice in _choices(columns, choices):
            found = [name for name in choice if name in self.places]
            if len(found) != 1:
                told = f"there are {' and '.join(found)}, where one is meant"
                raise NoPlainFile(
                    told if found else f"there is no column {choice[0]}",
                    where=f"{self.path}: line 1",
                    hint=f"{_needed(columns, choices)}; it names: {', '.join(self.places)[:200]}",
                )

    def chosen(self, choice: Choice) -> Column:
        """The column of a choice that the table has."""
        return next(Column(name, read) for name, read in choice.items() if name in self.places)

    def know(self, columns: Collection[str]) -> None:
        """Return if no column is perhaps a misspelt one of these. Raises `NoPlainFile`."""
        for name in self.places:
            if name not in columns and (meant := did_you_mean(name, columns)):
                raise NoPlainFile(
                    f"the column {name} would not count", where=f"{self.path}: line 1", hint=meant.strip()
                )

    def rows(
        self, columns: Sequence[Column], *, may_be_none: bool = False
    ) -> Iterator[tuple[int, list[Any]]]:
        """The number of every line below the header, and what its cells of these columns say.

        Raises `NoPlainFile`, and every `BadInput` that a column's `read` raises, with the place.
        """
        readers = [(self.places[name], read) for name, read in columns]
        number = 1
        for number, cells in self.lines:
            if len(cells) != self.width:
                raise NoPlainFile(
                    f"there are {len(cells)} cells, the header has {self.width}",
                    where=f"{self.path}: line {number}",
                    hint="a cell with a comma in it stands in quotes, and decimals have a point",
                )
            try:
                values = [read(cells[place]) for place, read in readers]
            except BadInput as error:
                error.where = f"{self.path}: line {number}, {self._culprit(cells, columns)}"
                raise
            yield number, values
        if number == 1 and not may_be_none:
            raise NoPlainFile("there is no row below the header", where=str(self.path))

    def _culprit(self, cells: Sequence[str], columns: Sequence[Column]) -> str:
        """The column whose cell cannot be read."""
        for name, read in columns:
            try:
                read(cells[self.places[name]])
            except BadInput:
                return name
        return ""


def _choices(columns: Sequence[str], choices: Sequence[Choice]) -> list[list[str]]:
    """The names of all columns, each with those that it may have instead."""
    return [*([name] for name in dict.fromkeys(columns)), *map(list, choices)]


def _needed(columns: Sequence[str], choices: Sequence[Choice]) -> str:
    names = ", ".join(map(" or ".join, _choices(columns, choices)))
    return f"the first line has to name, parted by commas: {names}"


@contextmanager
def open_table(path: Path, columns: Sequence[str], choices: Sequence[Choice] = ()) -> Iterator[Table]:
    """A file that has these columns, one of each choice, and perhaps others. Raises `NoPlainFile`."""
    try:
        # What is no UTF-8 becomes characters that no cell may hold, so it is told with its line and column.
        file = path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise NoPlainFile(f"cannot be opened: {error.strerror}", where=str(path)) from error
    with file:
        lines = _lines(file, path)
        _, header = next(lines, (0, None))
        if header is None:
            raise NoPlainFile("the file is empty", where=str(path), hint=_needed(columns, choices))
        for sign, parted_by in _PARTED_BY.items():
            if len(header) == 1 and sign in header[0]:
                raise NoPlainFile(
                    f"the columns are parted by {parted_by}",
                    where=f"{path}: line 1",
                    hint="save it as CSV parted by commas, with a point in decimals",
                )
        names = [name.strip() for name in header]
        if not "".join(names).isprintable():
            raise NoPlainFile("this is no CSV in UTF-8", where=f"{path}: line 1")
        for place, name in enumerate(names):
            if name and name in names[:place]:
                raise NoPlainFile(f"two columns are named {name}", where=f"{path}: line 1")
        table = Table(path, {name: place for place, name in enumerate(names) if name}, len(names), lines)
        table.need(columns, choices)
        yield table


def _lines(file: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers; what the libraries raise becomes ours."""
    reader = csv.reader(_bounded(file), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except (csv.Error, OSError) as error:
        raise NoPlainFile(f"this is no CSV: {error}", where=f"{path}: line {reader.line_num + 1}") from error


def _bounded(file: TextIO) -> Iterator[str]:
    """The file's lines. Raises `csv.Error` instead of reading one that does not end."""
    while line := file.readline(LINE_MAX):
        if len(line) == LINE_MAX:
            raise csv.Error(f"a line is longer than {LINE_MAX:,} characters")
        yield line
