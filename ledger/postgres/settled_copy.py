"""What was settled in the format of Postgres' binary COPY: by far the most that is ever written at once.

A row of `settlement.posted` is all that an interval brings one account, its postings side by side in four
arrays. Here such rows are put together as they go over the wire, at a fraction of what an encoder takes that
looks at each value. The format is told in the manual of PostgreSQL, COPY, under "Binary Format"; that of an
array is its dimensions, whether there are nulls, the type of its elements, how many, from which index on.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from ledger.settlement_rows import Posted, PostingRow, SettledRows, TradeRow

COLUMNS = {
    "intervals": ("community", "start", "run"),
    "posted": (
        "community", "start", "run", "reversal", "account", "kinds", "numbers", "energies_milliwh",
        "amounts_micro",
    ),
    "trades": (
        "community", "start", "run", "number", "seller", "buyer", "energy_milliwh", "price_micro_per_kwh",
        "amount_micro", "wheeling_micro", "loss_milliwh", "loss_micro", "operator_micro",
    ),
    "shares": ("community", "start", "run", "building", "share_milliwh", "used_milliwh", "residual_milliwh"),
}  # fmt: skip

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_count = Struct("!h").pack
_END = _count(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIGINT, _INTEGER, _TEXT = 20, 23, 25  # types, as in pg_type

# Each value goes behind its length in bytes.
_length = Struct("!i").pack
_interval = Struct("!iqiq").pack
_flag = Struct("!i?").pack
_number = Struct("!ii").pack
_trade = Struct("!" + "iq" * 7).pack
_share = Struct("!" + "iq" * 3).pack
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


class Copies(NamedTuple):
    """Rows of some intervals: each table's as one COPY, empty where there are none."""

    intervals: bytes
    posted: bytes
    trades: bytes
    shares: bytes


def copies(community: str, run: int, settled: Sequence[SettledRows]) -> Copies:
    """What a run made of intervals, to be written."""
    intervals, posted, trades, shares = bytearray(), bytearray(), bytearray(), bytearray()
    begin = {table: _count(len(columns)) + _text(community) for table, columns in COLUMNS.items()}
    for start, made, shared, postings in settled:
        interval = _interval(8, (start - _EPOCH) // _MICROSECOND, 8, run)
        intervals += begin["intervals"] + interval
        _add_posted(posted, begin["posted"] + interval, postings)
        _add_trades(trades, begin["trades"] + interval, made)
        for building, share, used, residual in shared:
            shares += begin["shares"] + interval + _text(building) + _share(8, share, 8, used, 8, residual)
    tables = (intervals, posted, trades, shares)
    return Copies(*(bytes(_BEGIN + rows + _END) if rows else b"" for rows in tables))


def _add_posted(rows: bytearray, interval: bytes, posted: Iterable[Posted]) -> None:
    for _, is_reversal, postings in posted:
        shared = interval + _flag(1, is_reversal)
        for account, lines in _by_account(postings).items():
            numbers, kinds, energies, amounts = zip(*lines, strict=True)
            rows += shared
            rows += _text(account)
            rows += _texts(kinds)
            rows += _numbers(len(lines)).packed(numbers, energies, amounts)


def _add_trades(rows: bytearray, interval: bytes, trades: Sequence[TradeRow]) -> None:
    for number, (seller, buyer, energy, price, amount, wheeling, lost, loss, fee) in enumerate(trades):
        rows += interval
        rows += _number(4, number)
        rows += _text(seller)
        rows += _text(buyer)
        rows += _trade(8, energy, 8, price, 8, amount, 8, wheeling, 8, lost, 8, loss, 8, fee)
