"""Python's search for reference cycles: what it need not look through."""

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


@contextmanager
def no_search_in_what_is() -> Iterator[None]:
    """Look meanwhile through nothing that is there at the beginning: a service's modules and routes stay as
    long as it does, and to look through them takes it a tenth of a second, for which everybody waits."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
