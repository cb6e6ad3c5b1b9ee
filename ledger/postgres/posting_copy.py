"""Postings in the format of Postgres' binary COPY: by far the most that is ever written at once.

A row of `settlement.posted` is all that an interval brings one account, its postings side by side in four
arrays. Here such rows are put together as they go over the wire, at a fraction of what an encoder takes that
looks at each value. The format is told in the manual of PostgreSQL, COPY, under "Binary Format"; that of an
array is its dimensions, whether there are nulls, the type of its elements, how many, from which index on.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct

from ledger.settlement_rows import Posted, PostingRow

COLUMNS = (
    "community", "start", "run", "reversal", "account", "kinds", "numbers", "energies_milliwh",
    "amounts_micro",
)  # fmt: skip
PIECE_BYTES = 512 * 1024

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_END = Struct("!h").pack(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIGINT, _INTEGER, _TEXT = 20, 23, 25  # types, as in pg_type

# Each value goes behind its length in bytes.
_length = Struct("!i").pack
_shared = Struct("!iqiqi?").pack
_array = Struct("!iiiiii").pack
_ARRAY = "iiiiii"
_ARRAY_BYTES = 20  # before the elements


@lru_cache(100_000)
def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


@lru_cache(10_000)
def _texts(values: tuple[str, ...]) -> bytes:
    elements = b"".join(map(_text, values))
    return _array(_ARRAY_BYTES + len(elements), 1, 0, _TEXT, len(values), 1) + elements


class _Numbers:
    """The arrays of so many numbers, energies and amounts, in one go."""

    def __init__(self, count: int) -> None:
        form, values = "!", []
        for oid, size, element in ((_INTEGER, 4, "ii"), (_BIGINT, 8, "iq"), (_BIGINT, 8, "iq")):
            form += _ARRAY + element * count
            values += [_ARRAY_BYTES + (4 + size) * count, 1, 0, oid, count, 1, *([size, 0] * count)]
        self._pack = Struct(form).pack
        self._values = values
        width = 6 + 2 * count
        self._places = [slice(at * width + 7, (at + 1) * width, 2) for at in range(3)]

    def packed(self, numbers: Sequence[int], energies: Sequence[int], amounts: Sequence[int]) -> bytes:
        """Of an account's postings."""
        values = self._values
        values[self._places[0]] = numbers
        values[self._places[1]] = energies
        values[self._places[2]] = amounts
        return self._pack(*values)


_numbers = lru_cache(10_000)(_Numbers)


def _by_account(postings: Sequence[PostingRow]) -> dict[str, list[tuple[int, str, int, int]]]:
    found: dict[str, list[tuple[int, str, int, int]]] = {}
    for number, (kind, account, energy, amount) in enumerate(postings):
        line = (number, kind, energy, amount)
        if account in found:
            found[account].append(line)
        else:
            found[account] = [line]
    return found


def copied(community: str, run: int, posted: Iterable[Posted]) -> Iterator[bytes]:
    """All postings as one COPY of `COLUMNS`, in pieces."""
    buffer = bytearray(_BEGIN)
    first = Struct("!h").pack(len(COLUMNS)) + _text(community)
    for start, is_reversal, postings in posted:
        shared = first + _shared(8, (start - _EPOCH) // _MICROSECOND, 8, run, 1, is_reversal)
        for account, lines in _by_account(postings).items():
            numbers, kinds, energies, amounts = zip(*lines, strict=True)
            buffer += shared
            buffer += _text(account)
            buffer += _texts(kinds)
            buffer += _numbers(len(lines)).packed(numbers, energies, amounts)
        if len(buffer) >= PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + _END
