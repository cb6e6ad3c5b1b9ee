"""How long the courier waits before it tries again."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.courier import backoff


@given(st.floats(0.001, 60), st.integers(0, 10_000), st.floats(0.001, 600))
def test_waits_double_up_to_a_limit_and_are_never_nothing(seconds: float, times: int, most: float) -> None:
    wait = backoff(seconds, times, most)
    assert 0 < wait <= most
    assert wait >= min(most, seconds) / 2
