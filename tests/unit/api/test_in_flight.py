"""How many requests somebody may have under way at once."""

import pytest

from api.http.in_flight import TooManyAtOnce, Turnstile
from api.http.problems import status_of


def test_each_name_has_so_many_at_once_and_no_more() -> None:
    turnstile = Turnstile(2, "this key")
    with turnstile.passed("a"), turnstile.passed("a"), turnstile.passed("b"):
        with pytest.raises(TooManyAtOnce) as refused, turnstile.passed("a"):
            pass
        assert (status_of(refused.value), refused.value.seconds) == (429, 1)
    with turnstile.passed("a"), turnstile.passed("a"):
        pass


def test_a_pass_that_was_given_back_early_is_given_back_once() -> None:
    turnstile = Turnstile(1, "this key")
    with turnstile.passed("a") as mine:
        mine.give_back()
        with turnstile.passed("a"):
            pass
    with turnstile.passed("a"), pytest.raises(TooManyAtOnce), turnstile.passed("a"):
        pass


def test_who_failed_is_counted_no_longer() -> None:
    turnstile = Turnstile(1, "this key")
    with pytest.raises(ZeroDivisionError), turnstile.passed("a"):
        raise ZeroDivisionError
    with turnstile.passed("a"):
        pass
