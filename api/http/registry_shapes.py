"""Who and what is to take part, as operators tell it, and what came of it.

Feeders, buildings and meters have the fields that they have in the settings file, by their own names.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from api.http.market_shapes import Change
from api.http.order_shapes import InstantText
from ledger.event import Name, Positive, Text

AT_ONCE_MAX = 100
"""Of each kind: what one request asks for is in one envelope, and is in the book as a whole or not at all."""

ModelText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewFeeder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feeder of the private grid. Without a name it keeps the one that it has, or is called as its id."""

    feeder: Name
    name: Text | None = None


class NewBuilding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A building and the feeder that it hangs on. Without a name it keeps the one that it has, or is called
    as its id."""

    building: Name
    feeder: Name
    name: Text | None = None


class NewMeter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A meter, and the device that reads it. A `connection` or `sub` meter has a building, a `main` meter has
    none, and that stays so. From `since` on it counts, and never later than it did already. The word of its
    `reader` counts from `read_since` on, by default from now on, and of a new meter from its beginning."""

    meter: Name
    role: Literal["connection", "main", "sub"]
    model: ModelText
    rated_w: Positive
    building: Name | None = None
    since: InstantText | None = None
    reader: Name | None = None
    read_since: InstantText | None = None


class NewRegistry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to take part: what is new, and what has changed. What is not told stays as it is."""

    feeders: Annotated[list[NewFeeder], msgspec.Meta(max_length=AT_ONCE_MAX)] = []
    buildings: Annotated[list[NewBuilding], msgspec.Meta(max_length=AT_ONCE_MAX)] = []
    meters: Annotated[list[NewMeter], msgspec.Meta(max_length=AT_ONCE_MAX)] = []


class MeterEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `until` on the meter no longer counts for its building; without it from now on."""

    until: InstantText | None = None


class NewEpoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The meter's registers start anew with its first reading at or after `since`: energy is not counted
    across that, but over a rollover, whose registers wrap to zero at `modulus_wh`. It begins behind all
    readings that count already, but for a rollover that was taken for a new beginning.
    """

    reason: Literal["replacement", "ct-change", "rollover", "correction"]
    since: InstantText
    modulus_wh: Positive | None = None


class EpochShape(msgspec.Struct, frozen=True):
    """What an operator has said of a meter's registers."""

    since: datetime
    reason: str
    modulus_wh: int | None


class EpochsShape(msgspec.Struct, frozen=True):
    """All that was said of one meter's registers, in order of the book. Epochs that began by themselves, with
    another serial number or after readings that agreed, are not among them."""

    items: list[EpochShape]


class RegistryAnswer(msgspec.Struct, frozen=True):
    """What came of it, or would come of it: `changes` are by what they are about, `feeder/NAME`,
    `building/NAME`, `meter/NAME`, `reader/METER` or `epoch/METER`. Without changes nothing is written, as the
    book says the same."""

    published: bool
    changes: list[Change]
