"""How buildings fare: the sums of intervals, and the community as if it were one building."""

from hypothesis import given
from hypothesis import strategies as st

from settlement.interval import Rules, settle
from settlement.market import Band, Routes, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.offers import Metered
from settlement.standing import Standing, Standings

BAND = Band(4_000_000, 2_000_000)
KWH = 1_000_000
ROUTES = Routes({("sun", "a"): Wheeling(100_000, 50_000)})


def standings(*intervals: list[Metered], mechanism: str = "mid_market_rate", fee: int = 0) -> Standings:
    found = Standings()
    for metered in intervals:
        settled = settle(Rules(mechanism, Parameters(), ROUTES, str, fee), BAND, metered, {})
        found.add(BAND, metered, settled)
    return found


def test_a_building_over_two_intervals_as_done_by_hand() -> None:
    noon = [Metered("sun", 0, 3 * KWH), Metered("a", 2 * KWH, 0)]
    night = [Metered("sun", KWH, 0), Metered("a", KWH, 0)]
    a, sun = standings(noon, night, fee=50_000).rows()
    assert a == Standing(
        "a", 3 * KWH, 0, 2 * KWH, 0, KWH, 0,
        6_000_000, 0, 200_000 + 400_000 + 100_000, 4_000_000, 0,  # wheeling, its loss at retail, the operator
        10_700_000, 12_000_000, 1_300_000, 666_667, None, 787_879,
    )  # fmt: skip
    assert sun == Standing(
        "sun", KWH, 3 * KWH, 0, 2 * KWH, KWH, KWH, 0, 6_000_000, 0, 4_000_000, 2_000_000,
        -4_000_000, -2_000_000, 2_000_000, 0, 666_667, 1_212_121,
    )  # fmt: skip


def test_nothing_saved_or_traded_leaves_fairness_open() -> None:
    alone = [Metered("sun", 0, KWH)]
    (sun,) = standings(alone).rows()
    assert (sun.fairness_ppm, sun.self_sufficiency_ppm, sun.local_coverage_ppm) == (None, None, 0)
    nothing = standings().total()
    assert (nothing.cost_micro, nothing.fairness_ppm) == (0, None)


METERED = st.lists(
    st.builds(Metered, st.sampled_from("abcd"), st.integers(0, 10**9), st.integers(0, 10**9)),
    min_size=1, max_size=4, unique_by=lambda each: each.building,
)  # fmt: skip


@given(st.lists(METERED, max_size=4), st.sampled_from(sorted(MECHANISMS)))
def test_the_community_is_the_sum_of_its_buildings(intervals: list[list[Metered]], mechanism: str) -> None:
    found = standings(*intervals, mechanism=mechanism, fee=12_345)
    rows, whole = list(found.rows()), found.total()
    for place in range(1, 15):
        assert whole[place] == sum(row[place] for row in rows if isinstance(row[place], int))
    for row in [*rows, whole]:
        assert row.cost_micro == (
            row.paid_micro - row.earned_micro + row.fees_micro + row.grid_cost_micro - row.grid_income_micro
        )
        assert row.saving_micro == row.cost_without_market_micro - row.cost_micro
    assert whole.bought_milliwh == whole.sold_milliwh
    assert whole.paid_micro == whole.earned_micro
