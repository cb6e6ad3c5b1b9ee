"""What is handed to another process to be settled arrives there as it was."""

import pickle

import pytest

from settlement.batch import Handed, Ready
from settlement.delivery import Delivery
from settlement.interval import Rules
from settlement.market import Band, Routes
from settlement.mechanisms import Parameters
from settlement.offers import Metered, Order
from settlement.run import Facts
from tests.support.campus import MORNING

RULES = Rules("uniform_price", Parameters(keys={"a": 1}), Routes(), str)
METERED = [Metered("a", 0, 5), Metered("b", 2**40, 0), Metered("ตึก", 0, 0)]


@pytest.mark.parametrize("metered", [[], METERED[:1], METERED])
def test_what_is_handed_to_another_process_arrives_as_it_was(metered: list[Metered]) -> None:
    orders = {"a": [Order("sell", None, 3)]}
    ready = Ready(Facts(MORNING, metered, Delivery(1, 2), orders, []), RULES, Band(4, 2))
    taken = pickle.loads(pickle.dumps(Handed.of(ready))).taken()  # noqa: S301 - what it just made
    assert taken._replace(rules=RULES) == ready
    assert [type(each) for each in taken.facts.metered] == [Metered] * len(metered)
