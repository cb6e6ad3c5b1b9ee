"""A tariff that is published anew: which of the intervals that were settled by it have other terms now."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from ledger.market_events import TariffPublished
from settlement.holidays import CalendarHole
from settlement.rules_in_force import RulesInForce
from settlement.tariff import Tariff, Terms, parse_tariff
from settlement.tariff_file import NoPrice, TariffHole


def repriced_intervals(
    rules: RulesInForce, before: Sequence[TariffPublished], starts: Iterable[datetime]
) -> Iterator[datetime]:
    """Those of `starts` whose terms differ from what one of `before`, the earlier documents, had told.

    Where one of them told nothing, an interval may have been left as it was though its energies had changed.
    """
    earlier: dict[str, list[Tariff | None]] = {}
    for each in before:
        earlier.setdefault(each.tariff, []).append(_read(each))
    for start in starts:
        published = rules.published(start)
        if published is not None and published.tariff in earlier:
            at = int(start.timestamp())
            terms = _terms(_in_force(rules, start), at)
            if any(_terms(tariff, at) != terms for tariff in earlier[published.tariff]):
                yield start


def _read(published: TariffPublished) -> Tariff | None:
    """None for what cannot be read."""
    try:
        return parse_tariff(published.tariff, published.document, published.beside)
    except NoPrice:
        return None


def _in_force(rules: RulesInForce, start: datetime) -> Tariff | None:
    try:
        in_force = rules.at(start)
    except NoPrice:
        return None
    return in_force.tariff if in_force is not None else None


def _terms(tariff: Tariff | None, at: int) -> Terms | None:
    """What holds at an instant; none where the tariff does not say."""
    try:
        return tariff.terms(at) if tariff is not None else None
    except (TariffHole, CalendarHole):
        return None
