"""One interval as a mechanism sees it, and what it makes of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from settlement.amounts import PPM, amount_micro, part
from settlement.making import maker


class Band(NamedTuple):
    """What the grid asks for a kilowatt-hour and what it gives for one, in the interval.

    Where both sides gain from it, the price among neighbours lies between the two.
    """

    retail_micro_per_kwh: int
    feed_in_micro_per_kwh: int


class Offer(NamedTuple):
    """Energy that a building would sell or buy, and the worst price at which it would.

    Without a limit it takes whatever the mechanism's price comes to.
    """

    building: str
    feeder: str
    energy_milliwh: int
    limit_micro_per_kwh: int | None = None


class Wheeling(NamedTuple):
    """What it takes to bring energy from one feeder to another."""

    fee_micro_per_kwh: int = 0
    loss_ppm: int = 0


NO_WHEELING = Wheeling()


class Routes:
    """Wheeling by ordered pair of feeders; a pair that is not listed costs nothing.

    What is lost on the way is bought from the grid at the retail price, by the buyer. So the seller is paid
    for all it gave, the buyer's meter shows all it bought, and the loss has its own line.
    """

    def __init__(self, pairs: Mapping[tuple[str, str], Wheeling] | None = None) -> None:
        self._pairs = {pair: wheeling for pair, wheeling in (pairs or {}).items() if wheeling != NO_WHEELING}

    def wheeling(self, seller_feeder: str, buyer_feeder: str) -> Wheeling:
        """Fee and loss from one feeder to another."""
        return self._pairs.get((seller_feeder, buyer_feeder), NO_WHEELING)

    def costs(self, retail_micro_per_kwh: int) -> dict[tuple[str, str], int]:
        """What a kilowatt-hour costs on the way, its loss included, for the pairs where it does."""
        return {
            pair: fee + -(-loss_ppm * retail_micro_per_kwh // PPM)
            for pair, (fee, loss_ppm) in self._pairs.items()
        }


class Market(NamedTuple):
    """What is to be sold and bought in one interval, and what it takes besides the price."""

    band: Band
    sells: Sequence[Offer]
    buys: Sequence[Offer]
    routes: Routes
    operator_fee_micro_per_kwh: int = 0  # of what is traded, from the buyer

    def costs(self) -> dict[tuple[str, str], int]:
        """What a kilowatt-hour costs on the way, by pair of feeders."""
        return self.routes.costs(self.band.retail_micro_per_kwh)

    def ask(self, offer: Offer) -> int:
        """The least that a seller is to be given: what the grid would give, or its own limit above that."""
        return max(self.band.feed_in_micro_per_kwh, offer.limit_micro_per_kwh or 0)

    def bid(self, offer: Offer) -> int:
        """The most that a buyer can pay for energy and way: what the grid asks, or its own limit below."""
        limit = offer.limit_micro_per_kwh
        retail = self.band.retail_micro_per_kwh
        return (retail if limit is None else min(limit, retail)) - self.operator_fee_micro_per_kwh


class Trade(NamedTuple):
    """Energy that one building gave and another took, and what the taker pays to whom for it."""

    seller: str
    buyer: str
    energy_milliwh: int
    price_micro_per_kwh: int
    amount_micro: int  # to the seller
    wheeling_micro: int = 0  # to whom the lines belong
    loss_milliwh: int = 0  # out of the grid
    loss_micro: int = 0  # to the grid
    operator_micro: int = 0  # to who runs the community


class Share(NamedTuple):
    """What a building was entitled to by its key, how much of it it used, and what is left of it."""

    building: str
    share_milliwh: int
    used_milliwh: int
    residual_milliwh: int


class Outcome(NamedTuple):
    """What a mechanism decided."""

    trades: list[Trade]
    shares: list[Share]


def trades_at(
    market: Market, matched: Iterable[tuple[str, str, int]], price_micro_per_kwh: int, wheeling: Wheeling
) -> list[Trade]:
    """The trades of sellers and buyers at one price, each with its energy."""
    price = price_micro_per_kwh
    if market.operator_fee_micro_per_kwh or wheeling != NO_WHEELING:
        return [trade(market, *each, price, wheeling) for each in matched]
    return [
        _trade((seller, buyer, energy, price, amount_micro(energy, price), 0, 0, 0, 0))
        for seller, buyer, energy in matched
    ]


def trade(
    market: Market, seller: str, buyer: str, energy_milliwh: int, price_micro_per_kwh: int, wheeling: Wheeling
) -> Trade:
    """A trade with all that follows from its energy and price."""
    amount = amount_micro(energy_milliwh, price_micro_per_kwh)
    lost = part(energy_milliwh, wheeling.loss_ppm)
    fee = 0 if seller == buyer else market.operator_fee_micro_per_kwh  # of one's own nobody pays for
    return Trade(
        seller, buyer, energy_milliwh, price_micro_per_kwh, amount,
        amount_micro(energy_milliwh, wheeling.fee_micro_per_kwh), lost,
        amount_micro(lost, market.band.retail_micro_per_kwh),
        amount_micro(energy_milliwh, fee),
    )  # fmt: skip


_trade = maker(Trade)
