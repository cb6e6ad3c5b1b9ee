"""Making named tuples by the million."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T", bound=tuple[Any, ...])


def maker(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """What makes a `kind` of the tuple of all its fields, at half of what calling `kind` costs."""
    return cast(Callable[[tuple[Any, ...]], T], partial(tuple.__new__, kind))
