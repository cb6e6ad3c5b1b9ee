"""What-if on the book: a past period under several mechanisms, and who would have paid what."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from settlement.book_state import BookState
from settlement.interval import settle
from settlement.standing import Standings

CHUNK = timedelta(days=1)


async def compare(
    book: BookState, mechanisms: Sequence[str], begin: datetime, until: datetime
) -> dict[str, Standings]:
    """The intervals of [begin, until) settled by each of `mechanisms`, with all else as it was published.

    Orders and agreements count as they did. Nothing is written. Raises `TariffHole` and `CalendarHole`.
    """
    rules = book.rules()
    found = {mechanism: Standings() for mechanism in mechanisms}
    while begin < until:
        async for facts in book.facts(begin, min(begin + CHUNK, until)):
            in_force = rules.at(facts.start)
            if in_force is None:
                continue
            band = in_force.tariff.band(int(facts.start.timestamp()))
            for mechanism, standings in found.items():
                other = in_force.rules._replace(mechanism=mechanism)
                settled = settle(other, band, facts.metered, facts.orders, facts.agreements)
                standings.add(band, facts.metered, settled)
        begin += CHUNK
    return found
