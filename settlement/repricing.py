"""A tariff that is published anew: which of the intervals that were settled by it have other terms now."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from ledger.market_events import TariffPublished
from settlement.holidays import CalendarHole
from settlement.rules_in_force import RulesInForce
from settlement.tariff import Tariff, Terms, parse_tariff
from settlement.tariff_file import NoPrice, TariffHole


def repriced_intervals(
    rules: RulesInForce, before: Sequence[TariffPublished], starts: Iterable[datetime]
) -> Iterator[datetime]:
    """Those of `starts` whose terms differ from what one of `before`, the earlier documents, had told."""
    earlier: dict[str, list[Tariff]] = {}
    for each in before:
        with suppress(NoPrice):  # nothing was settled by what could not be read
            tariff = parse_tariff(each.tariff, each.document, each.beside)
            earlier.setdefault(each.tariff, []).append(tariff)
    for start in starts:
        if (in_force := rules.at(start)) is not None and in_force.tariff.name in earlier:
            at = int(start.timestamp())
            terms = _terms(in_force.tariff, at)
            if any(_terms(tariff, at) != terms for tariff in earlier[in_force.tariff.name]):
                yield start


def _terms(tariff: Tariff, at: int) -> Terms | None:
    """What holds at an instant; none where the tariff does not say."""
    try:
        return tariff.terms(at)
    except (TariffHole, CalendarHole):
        return None
