"""What live messages look like.

By Server-Sent Events a message is the `data` of an event, beside its `id`; by WebSocket its `id`
stands in it.
"""

from datetime import datetime

import msgspec

from api.http.building_shapes import IntervalShape, Price, TradeShape
from api.http.shapes import Amount


class Opened(msgspec.Struct, frozen=True, tag_field="event", tag="opened"):
    """The first message: from its id on, nothing will be left out."""

    community: str
    building: str


class ReadingTold(msgspec.Struct, frozen=True, tag_field="event", tag="reading"):
    """A reading of one of the building's meters was recorded: its registers, and the energy that they decide.

    `sequence` and `hash` are its place in the meter's chain. `energy` are the intervals, within a day of the
    reading, that are what they are since this reading: most often the one that ends with it, after a gap all
    of the gap, and none for a reading between two intervals or one that does not count. What a later reading
    has decided anew by the time of telling is told with that one.
    """

    meter: str
    role: str
    sequence: int
    hash: str
    measured_at: datetime
    quality: str
    import_wh: int
    export_wh: int
    power_w: int | None
    energy: list[IntervalShape]


class SettledTold(msgspec.Struct, frozen=True, tag_field="event", tag="settled"):
    """An interval was settled for the building, by a run.

    With `revised` it had been settled before, and this takes the place of all that was told of it. `cost` is
    what the building pays for the interval, below zero what it gets: exactly `grid_cost` + `paid` + `fees` +
    `loss` - `earned` - `grid_income`, as in its statement; taxes and the campus's own charges are not in it.
    """

    start: datetime
    end: datetime
    run: int
    revised: bool
    grid_import_milliwh: int
    bought_milliwh: int
    sold_milliwh: int
    grid_export_milliwh: int
    grid_cost: Amount
    paid: Amount
    earned: Amount
    grid_income: Amount
    fees: Amount
    loss: Amount
    cost: Amount
    trades: list[TradeShape]


class PriceTold(msgspec.Struct, frozen=True, tag_field="event", tag="price"):
    """The prices of an interval that was settled.

    `grid_import` is what the grid asks for a kilowatt-hour and `grid_export` what it gives for one, by the
    tariff as it is published. Neighbours traded between `p2p_lowest` and `p2p_highest`, which are the same
    under most mechanisms, and none where nobody traded.
    """

    start: datetime
    end: datetime
    run: int
    revised: bool
    grid_import: Price | None
    grid_export: Price | None
    p2p_lowest: Price | None
    p2p_highest: Price | None


class Heartbeat(msgspec.Struct, frozen=True, tag_field="event", tag="heartbeat"):
    """Nothing happened, and all up to the id was told. By Server-Sent Events it is a comment and an id."""


class Ending(msgspec.Struct, frozen=True, tag_field="event", tag="ending"):
    """The last message: why the stream ends here. Whoever may come back goes on from its id."""

    code: str
    detail: str
    hint: str


LiveMessage = Opened | ReadingTold | SettledTold | PriceTold | Heartbeat | Ending
