"""A message, encoded once for however many listen."""

from typing import NamedTuple, Self

import msgspec

from api.http.live.place import Place
from api.http.live.shapes import Ending, Heartbeat, LiveMessage
from ledger.errors import LedgerError


class Message(NamedTuple):
    """Where it stands, and how it goes out: as a Server-Sent Event, and as the text of a WebSocket.

    `ending` is the code of the reason why it is the last one.
    """

    place: Place
    event: bytes
    text: str
    ending: str = ""

    @classmethod
    def of(cls, place: Place, told: LiveMessage) -> Self:
        """The message that tells something."""
        name, data = told.__struct_config__.tag, msgspec.json.encode(told).decode()
        # Of an event without data a browser keeps the id and shows nothing (HTML, section 9.2.6, dispatch).
        event = (
            f": nothing new\nid: {place}\n\n"
            if isinstance(told, Heartbeat)
            else f"id: {place}\nevent: {name}\ndata: {data}\n\n"
        )
        return cls(place, event.encode(), f'{{"id":"{place}",{data[1:]}')


def ending(place: Place, error: LedgerError) -> Message:
    """The last message, for a reason."""
    return Message.of(place, Ending(error.code, error.what, error.hint))._replace(ending=error.code)
