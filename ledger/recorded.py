"""An event with its place in the book, as whoever keeps or reads the book hands it on."""

from typing import NamedTuple

EventRow = tuple[int, str, int, bytes]
"""position, stream, sequence, body: for thousands at a time."""


class RecordedEvent(NamedTuple):
    """One event of the book."""

    position: int
    stream: str
    sequence: int
    body: bytes
