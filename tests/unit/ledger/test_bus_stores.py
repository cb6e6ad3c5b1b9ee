"""What the last envelopes say of whether JetStream stores."""

import pytest

from ledger.bus.stores import COUNTS_SECONDS, Stores

NOW = 1_000.0


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setattr("ledger.bus.stores.monotonic_seconds", lambda: NOW)
    return Stores()


def test_one_that_was_not_stored_counts_until_one_is(stores: Stores) -> None:
    assert stores.lately() == ""
    stores.refused("full", NOW - 5)
    assert stores.lately() == "full"
    stores.stored()
    assert stores.lately() == ""


def test_one_that_was_not_stored_says_nothing_where_a_later_one_was(stores: Stores) -> None:
    stores.stored()
    stores.refused("no answer", NOW - 5)
    assert stores.lately() == ""


def test_one_that_was_not_stored_is_forgotten_so_that_a_process_that_is_sent_nothing_comes_back(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.refused("full", NOW)
    monkeypatch.setattr("ledger.bus.stores.monotonic_seconds", lambda: NOW + COUNTS_SECONDS + 1)
    assert stores.lately() == ""
