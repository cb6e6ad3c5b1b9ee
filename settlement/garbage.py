"""A pause for Python's search for reference cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Look for no reference cycles meanwhile: a run makes millions of tuples that are in none, and looking
    through them again and again takes a fifth of its time. What is in no cycle is freed as ever."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
