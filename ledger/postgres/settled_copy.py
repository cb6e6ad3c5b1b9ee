"""What was settled in the format of Postgres' binary COPY: by far the most that is ever written at once.

A row of `settlement.posted` is all that an interval brings one account, its postings side by side in four
arrays. Here such rows are put together as they go over the wire, at a fraction of what an encoder takes that
looks at each value. The format is told in the manual of PostgreSQL, COPY, under "Binary Format"; that of an
array is its dimensions, whether there are nulls, the type of its elements, how many, from which index on.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any, NamedTuple

from ledger.settlement_rows import PostingRow, SettledRows, TradeRow

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
_ARRAY_BYTES = 20  # before the elements
_INTEGER_LENGTH, _BIGINT_LENGTH = _length(4), _length(8)


class Copies(NamedTuple):
    """Rows of some intervals: each table's as one COPY, empty where there are none."""

    intervals: bytes
    posted: bytes
    trades: bytes
    shares: bytes


def copies(community: str, run: int, settled: Sequence[SettledRows]) -> Copies:
    """What a run made of intervals, to be written.

    Postings are put in order of accounts and not of time: they are looked for by account, and so the index
    by account takes them in at a fraction of the cost.
    """
    intervals, trades, shares = bytearray(), bytearray(), bytearray()
    posted: dict[str, list[bytes]] = {}
    begin = {table: _count(len(columns)) + _text(community) for table, columns in COLUMNS.items()}
    for start, made, shared, postings in settled:
        interval = _interval(8, (start - _EPOCH) // _MICROSECOND, 8, run)
        intervals += begin["intervals"] + interval
        for each in postings:
            _add_posted(posted, begin["posted"] + interval + _flag(1, each.is_reversal), each.postings)
        _add_trades(trades, begin["trades"] + interval, made)
        for building, share, used, residual in shared:
            shares += begin["shares"] + interval + _text(building) + _share(8, share, 8, used, 8, residual)
    by_account = b"".join(chain.from_iterable(posted[account] for account in sorted(posted)))
    tables = (intervals, by_account, trades, shares)
    return Copies(*(b"".join((_BEGIN, rows, _END)) if rows else b"" for rows in tables))


def _add_posted(rows: dict[str, list[bytes]], shared: bytes, postings: Sequence[PostingRow]) -> None:
    """Add a row an account; `shared` is what all of them begin with."""
    found: dict[str, list[Any]] = {}
    for number, (kind, account, energy, amount) in enumerate(postings):
        if account in found:
            found[account] += (number, kind, energy, amount)
        else:
            found[account] = [number, kind, energy, amount]
    for account, told in found.items():
        if len(told) == _A_POSTING:  # by far the most
            number, kind, energy, amount = told
            row = shared + _head(account, (kind,)) + _one(number, _ENERGY, energy, _AMOUNT, amount)
        else:
            row = shared + _head(account, tuple(told[1::4])) + _many(told)
        if account in rows:
            rows[account].append(row)
        else:
            rows[account] = [row]


_A_POSTING = 4  # values


@lru_cache(100_000)
def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


@lru_cache(100_000)
def _head(account: str, kinds: tuple[str, ...]) -> bytes:
    """The account, its postings' kinds, and how the array of their numbers begins."""
    elements = b"".join(map(_text, kinds))
    header = _array(_ARRAY_BYTES + len(elements), 1, 0, _TEXT, len(kinds), 1)
    return _text(account) + header + elements + _begin_array(_INTEGER, 4, len(kinds))


def _begin_array(oid: int, size: int, count: int) -> bytes:
    """An array of values of `size` bytes, up to its first value."""
    return _array(_ARRAY_BYTES + (4 + size) * count, 1, 0, oid, count, 1) + _length(size)


def _form(count: int) -> Struct:
    """Numbers, energies and amounts, each but the first behind its length or the beginning of its array."""
    begin = len(_begin_array(_BIGINT, 8, count))
    bigints = f"{begin}sq" + "4sq" * (count - 1)
    return Struct("!i" + "4si" * (count - 1) + bigints + bigints)


_one = _form(1).pack
_ENERGY = _AMOUNT = _begin_array(_BIGINT, 8, 1)


class _Form:
    """The arrays of so many postings, with a place for each value."""

    def __init__(self, count: int) -> None:
        bigints = [_begin_array(_BIGINT, 8, count), 0, *[_BIGINT_LENGTH, 0] * (count - 1)]
        self.pack = _form(count).pack
        self.values: list[Any] = [0, *[_INTEGER_LENGTH, 0] * (count - 1), *bigints, *bigints]
        at = 2 * count - 1
        self.places = (slice(0, at, 2), slice(at + 1, at + 2 * count, 2), slice(at + 2 * count + 1, None, 2))


_form_of = lru_cache(10_000)(_Form)


def _many(told: Sequence[Any]) -> bytes:
    form = _form_of(len(told) // _A_POSTING)
    values = form.values
    numbers, energies, amounts = form.places
    values[numbers], values[energies], values[amounts] = told[0::4], told[2::4], told[3::4]
    return form.pack(*values)


def _add_trades(rows: bytearray, interval: bytes, trades: Sequence[TradeRow]) -> None:
    for number, (seller, buyer, energy, price, amount, wheeling, lost, loss, fee) in enumerate(trades):
        rows += interval
        rows += _number(4, number)
        rows += _text(seller)
        rows += _text(buyer)
        rows += _trade(8, energy, 8, price, 8, amount, 8, wheeling, 8, lost, 8, loss, 8, fee)
