"""The account of the grid is what the utility bills for the main meter, however buildings were settled."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from settlement.amounts import amount_micro
from settlement.delivery import Delivery, reconcile
from settlement.interval import Rules, residuals_of, settle
from settlement.journal import GRID, LOSSES, OPERATOR, Posting
from settlement.market import Band
from settlement.offers import Metered, Order
from tests.properties.test_settlement import CASES

KWH = 1_000_000
BAND = Band(4_000_000, 2_000_000)


def accounts(postings: list[Posting]) -> tuple[Counter[str], Counter[str]]:
    energy: Counter[str] = Counter()
    money: Counter[str] = Counter()
    for posting in postings:
        energy[posting.account] += posting.energy_milliwh
        money[posting.account] += posting.amount_micro
    return energy, money


@given(**CASES, main=st.builds(Delivery, st.integers(0, 10**8), st.just(0) | st.integers(0, 10**8)))
def test_the_grids_account_is_the_utilitys_bill_and_everything_sums_to_zero(
    rules: Rules, band: Band, metered: list[Metered], orders: dict[str, list[Order]], main: Delivery
) -> None:
    if not metered:
        return
    settled = settle(rules, band, metered, orders)
    extra = reconcile(main, band, metered, settled.trades, settled.residuals)
    postings = [*settled.journal(), *extra]
    energy, money = accounts(postings)
    assert sum(energy.values()) == sum(money.values()) == 0
    assert energy[GRID] == main.export_milliwh - main.import_milliwh
    due = amount_micro(main.import_milliwh, band[0]) - amount_micro(main.export_milliwh, band[1])
    assert money[GRID] == due


def test_a_loss_is_named_and_borne_by_those_who_import() -> None:
    metered = [Metered("a", 3 * KWH, 0), Metered("b", KWH, 0), Metered("c", 0, KWH)]
    residuals = residuals_of(metered, [], BAND)
    postings = list(reconcile(Delivery(3 * KWH + 40_000, 0), BAND, metered, [], residuals))
    energy, money = accounts(postings)
    assert energy == {GRID: -40_000, LOSSES: 40_000, "building/a": 0, "building/b": 0, OPERATOR: 0}
    assert (money["building/a"], money["building/b"]) == (-120_000, -40_000)
    assert money[OPERATOR] == 2_000_000, "one kWh went from c to a and b at 4, for which c got 2"
