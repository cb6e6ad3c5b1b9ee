"""What was settled in the format of Postgres' binary COPY: by far the most that is ever written at once.

A row of `settlement.posted` is what some hours bring one account, its postings side by side in five arrays.
Here such rows are put together as they go over the wire, at a fraction of what an encoder takes that looks at
each value. The format is told in the manual of PostgreSQL, COPY, under "Binary Format"; that of an
array is its dimensions, whether there are nulls, the type of its elements, how many, from which index on.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from ledger.settlement_rows import PostingRow, SettledRows, TradeRow

COLUMNS = {
    "intervals": ("community", "start", "run"),
    "posted": (
        "community", "run", "reversal", "account", "first", "last", "starts", "numbers", "kinds",
        "energies_milliwh", "amounts_micro",
    ),
    "trades": (
        "community", "start", "run", "number", "seller", "buyer", "energy_milliwh", "price_micro_per_kwh",
        "amount_micro", "wheeling_micro", "loss_milliwh", "loss_micro", "operator_micro",
    ),
    "shares": ("community", "start", "run", "building", "share_milliwh", "used_milliwh", "residual_milliwh"),
}  # fmt: skip

ROW_SPAN = timedelta(hours=6)
"""All intervals of a row begin within it (the table's CHECK), so queries know by the first where to look."""
ROW_POSTINGS = 160
"""As many fit a page of Postgres. An account with more of them in an interval has a row for it alone."""

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_count = Struct("!h").pack
_END = _count(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIGINT, _INTEGER, _TEXT, _TIMESTAMPTZ = 20, 23, 25, 1184  # types, as in pg_type

# Each value goes behind its length in bytes.
_length = Struct("!i").pack
_interval = _bounds = Struct("!iqiq").pack
_run = Struct("!iqi?").pack
_number = Struct("!ii").pack
_trade = Struct("!" + "iq" * 7).pack
_share = Struct("!" + "iq" * 3).pack
_header = Struct("!iiiiii").pack
_ARRAY_BYTES = 20  # before the elements
_LENGTH_BYTES = 4


class Copies(NamedTuple):
    """Rows of some intervals: each table's as one COPY, empty where there are none."""

    intervals: bytes
    posted: bytes
    trades: bytes
    shares: bytes


def copies(community: str, run: int, settled: Sequence[SettledRows]) -> Copies:
    """What a run made of intervals, in order of time, to be written.

    Postings are put in order of accounts and not of time: they are looked for by account.
    """
    intervals, trades, shares = bytearray(), bytearray(), bytearray()
    made, reversals = defaultdict[str, _Told](list), defaultdict[str, _Told](list)
    begin = {table: _count(len(columns)) + _text(community) for table, columns in COLUMNS.items()}
    for start, traded, shared, postings in settled:
        micros = (start - _EPOCH) // _MICROSECOND
        interval = _interval(8, micros, 8, run)
        intervals += begin["intervals"] + interval
        for each in postings:
            _tell(reversals if each.is_reversal else made, micros, each.postings)
        _add_trades(trades, begin["trades"] + interval, traded)
        for building, share, used, residual in shared:
            shares += begin["shares"] + interval + _text(building) + _share(8, share, 8, used, 8, residual)
    posted = bytearray()
    for is_reversal, by_account in ((False, made), (True, reversals)):
        shared_head = begin["posted"] + _run(8, run, 1, is_reversal)
        for account, told in sorted(by_account.items()):
            for part in _parts(told):
                posted += shared_head + _text(account) + _row(part)
    tables = (intervals, posted, trades, shares)
    return Copies(*(b"".join((_BEGIN, rows, _END)) if rows else b"" for rows in tables))


_Told = list[Any]
"""An account's postings, five values each: when its interval starts, number, kind, energy and amount."""
_A_POSTING = 5


def _tell(accounts: defaultdict[str, _Told], start: int, postings: Sequence[PostingRow]) -> None:
    """Add the postings of an interval."""
    for number, (kind, account, energy, amount) in enumerate(postings):
        accounts[account] += (start, number, kind, energy, amount)


def _parts(told: _Told) -> Iterator[_Told]:
    """An account's postings, row by row: whole intervals, as many as a row holds."""
    starts = told[::_A_POSTING]
    begin = 0
    while begin < len(starts):
        first = starts[begin]
        until = bisect_left(starts, first + ROW_SPAN // _MICROSECOND, begin)
        if until - begin > ROW_POSTINGS:
            until = bisect_left(starts, starts[begin + ROW_POSTINGS], begin)
            if until == begin:  # the interval itself has more
                until = bisect_right(starts, first, begin)
        yield told[begin * _A_POSTING : until * _A_POSTING]
        begin = until


def _row(told: _Told) -> bytes:
    starts, kinds = told[0::_A_POSTING], told[2::_A_POSTING]
    texts = b"".join(map(_text, kinds))
    return b"".join((
        _bounds(8, starts[0], 8, starts[-1]),
        _array(_TIMESTAMPTZ, "q", starts),
        _array(_INTEGER, "i", told[1::_A_POSTING]),
        _header(_ARRAY_BYTES + len(texts), 1, 0, _TEXT, len(kinds), 1), texts,
        _array(_BIGINT, "q", told[3::_A_POSTING]),
        _array(_BIGINT, "q", told[4::_A_POSTING]),
    ))  # fmt: skip


class _Form:
    """So many numbers of one size, each behind its length."""

    def __init__(self, code: str, count: int) -> None:
        one = Struct("!i" + code)
        self._pack = Struct("!" + f"i{code}" * count).pack
        self._values = [one.size - _LENGTH_BYTES, 0] * count
        self.size = one.size * count

    def packed(self, numbers: Sequence[int]) -> bytes:
        self._values[1::2] = numbers
        return self._pack(*self._values)


_form = lru_cache(1_000)(_Form)


def _array(oid: int, code: str, numbers: Sequence[int]) -> bytes:
    form = _form(code, len(numbers))
    return _header(_ARRAY_BYTES + form.size, 1, 0, oid, len(numbers), 1) + form.packed(numbers)


@lru_cache(100_000)
def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


def _add_trades(rows: bytearray, interval: bytes, trades: Sequence[TradeRow]) -> None:
    for number, (seller, buyer, energy, price, amount, wheeling, lost, loss, fee) in enumerate(trades):
        rows += interval
        rows += _number(4, number)
        rows += _text(seller)
        rows += _text(buyer)
        rows += _trade(8, energy, 8, price, 8, amount, 8, wheeling, 8, lost, 8, loss, 8, fee)
