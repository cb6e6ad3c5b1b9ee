"""The parts of a building's cost that are shown sum to all that was posted to its account."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.agreements import Agreement
from settlement.brought import Brought, brought, summed
from settlement.delivery import Delivery, reconcile
from settlement.interval import Rules, settle
from settlement.journal import Posting, building_account
from settlement.market import Band
from settlement.mechanisms import MECHANISMS
from settlement.offers import Metered, Order
from tests.properties.test_settlement import AGREEMENTS, CASES

MAIN = st.builds(Delivery, st.integers(0, 10**8), st.just(0) | st.integers(0, 10**8))


class Row(NamedTuple):
    kind: str
    took: bool
    energy_milliwh: int
    amount_micro: int


def told(postings: list[Posting], building: str) -> list[Row]:
    own = [each for each in postings if each.account == building_account(building)]
    return [Row(each.kind, each.energy_milliwh > 0, each.energy_milliwh, each.amount_micro) for each in own]


@settings(max_examples=60)
@given(**CASES, agreements=AGREEMENTS, main=MAIN)
def test_under_every_mechanism_the_parts_sum_to_what_was_posted_and_the_energies_to_what_was_metered(
    rules: Rules,
    band: Band,
    metered: list[Metered],
    orders: dict[str, list[Order]],
    agreements: list[Agreement],
    main: Delivery,
) -> None:
    for mechanism in MECHANISMS if metered else ():
        settled = settle(rules._replace(mechanism=mechanism), band, metered, orders, agreements)
        extra = reconcile(main, band, metered, settled.trades, settled.residuals)
        postings = [*settled.journal(), *extra]
        for building, imported, exported in metered:
            rows = told(postings, building)
            found = brought(rows)
            paid = found.grid_cost_micro + found.paid_micro + found.fees_micro + found.loss_micro
            assert paid - found.earned_micro - found.grid_income_micro == found.cost_micro
            assert found.cost_micro == -sum(row.amount_micro for row in rows)
            assert found.loss_micro == -sum(row.amount_micro for row in rows if row.kind == "loss")
            assert found.bought_milliwh + found.grid_import_milliwh == imported
            assert found.sold_milliwh + found.grid_export_milliwh == exported


def test_many_intervals_come_to_the_sum_of_each() -> None:
    assert summed([]) == Brought()
    one, two = brought([Row("loss", False, 0, -3)]), brought([Row("trade", True, 5, -7)])
    assert summed([one, two]) == Brought(bought_milliwh=5, paid_micro=7, loss_micro=3)
