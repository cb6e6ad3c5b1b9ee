"""What the doctor says of witnesses."""

from datetime import timedelta

from api.witness_checks import witness_findings
from ledger.postgres.witnesses import WitnessStanding
from tests.support.campus import MORNING

SECONDS = int(MORNING.timestamp())
CURRENT = WitnessStanding("w1+id+key", 10, SECONDS, 12)
NEVER = WitnessStanding("w2+id+key", 0, None, 12)


def test_a_witness_that_is_near_is_well_and_the_others_are_told() -> None:
    now = MORNING + timedelta(minutes=59)
    assert [each.verdict for each in witness_findings([CURRENT, NEVER], 0, now)] == ["well", "odd"]
    late = list(witness_findings([CURRENT, NEVER], 0, now + timedelta(minutes=2)))
    assert [each.found.split(" ")[0] for each in late] == ["w1", "w2"]
    assert "2 events behind since 2026-06-01 00:00 UTC" in late[0].found
    quiet = CURRENT._replace(size=12)
    assert [each.verdict for each in witness_findings([quiet], 1, now + timedelta(days=9))] == ["well"]


def test_fewer_than_a_quorum_is_wrong() -> None:
    *_, last = witness_findings([CURRENT, NEVER], 2, MORNING)
    assert (last.what, last.verdict) == ("witnesses", "wrong")
    assert last.found.startswith("1 of the 2")
