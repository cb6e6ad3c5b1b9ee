"""What Python's search for reference cycles leaves out."""

import gc

from ledger.garbage import no_search_for_cycles, no_search_in_what_is


def test_what_is_there_already_is_left_out_until_the_end() -> None:
    assert gc.get_freeze_count() == 0
    with no_search_in_what_is():
        assert gc.get_freeze_count() > 1_000
        assert gc.isenabled(), "what is made later is searched as ever"
    assert gc.get_freeze_count() == 0


def test_nothing_is_searched_in_a_run_and_all_afterwards() -> None:
    with no_search_for_cycles():
        assert not gc.isenabled()
    assert gc.isenabled()
