"""What answers look like. Amounts are told twice: as whole micro-units and as the decimal number they are."""

from datetime import datetime

import msgspec

from ledger.postgres.log import BlockRow


class Amount(msgspec.Struct, frozen=True):
    """Money: `micro` is exact, `decimal` the same in units of `currency`."""

    micro: int
    decimal: str
    currency: str


def amount(micro: int, currency: str) -> Amount:
    """An amount as both."""
    whole, rest = divmod(abs(micro), 1_000_000)
    return Amount(micro, f"{'-' if micro < 0 else ''}{whole}.{rest:06d}", currency)


class BlockShape(msgspec.Struct, frozen=True):
    """A sealed block; `hash` is the SHA-256 of the canonical JSON of all else."""

    number: int
    previous: str
    root: str
    size: int
    sealed_at: datetime
    hash: str


def block_shape(row: BlockRow) -> BlockShape:
    """As the API shows it."""
    return BlockShape(*row)
