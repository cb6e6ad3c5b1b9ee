"""The stream of envelopes: made where it is missing, as large as the servers have room for.

It is looked at before it is made. JetStream holds a request to make a stream that exists against the room
that is left beside that very stream, so one that has worked for years would be refused on a disk that has
filled since.
"""

import asyncio
from collections.abc import Iterator

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from ledger.bus import subjects
from ledger.bus.ear import BusUnavailable

BYTES_MAX = 8 * 2**30
BYTES_MIN = 16 * 2**20
"""Room for a dozen of the largest envelopes: with less a stream is no use."""

PUBLISH_SECONDS = 5.0
LOOK_SECONDS = 2
NO_ROOM = {10005, 10023, 10047}
"""JetStream's codes for: no server has the room, resources are used up, storage is."""
FULL = {10077}
"""Its code for a stream that has as much as it may."""
_COMPARED = ("subjects", "retention", "storage", "discard", "num_replicas")


async def make_sure(jetstream: JetStreamContext, replicas: int) -> None:
    """Have the stream there. Where it is missing it gets 8 GiB, or as much of that as can be had by halving.

    One that is there may have any size. Raises `BusUnavailable` for one that works in another way,
    `TimeoutError` and the library's errors.
    """
    if (found := await _found(jetstream)) is not None:
        _compare(found, _wanted(replicas, BYTES_MAX))
        return
    for size in _sizes():
        try:
            await jetstream.add_stream(_wanted(replicas, size))
            return
        except nats.js.errors.APIError as error:
            if error.err_code not in NO_ROOM or size // 2 < BYTES_MIN:
                raise


def words_of(error: Exception) -> str:
    """What JetStream said, in its own words, or that it said nothing."""
    match error:
        case nats.js.errors.APIError(description=str(said)) if said:
            return said
        case nats.js.errors.ServiceUnavailableError() | nats.js.errors.NoStreamResponseError():
            return "there is no JetStream, or no stream"
        case TimeoutError():
            return f"JetStream does not answer within {PUBLISH_SECONDS:.0f} s"
    return type(error).__name__


def hint_of(error: Exception) -> str:
    """What can be done about it, as far as that is known."""
    match error:
        case nats.js.errors.APIError(err_code=code) if code in NO_ROOM:
            return "make room on NATS' disk, or raise `max_file_store` of its jetstream block"
        case nats.js.errors.APIError(err_code=code) if code in FULL:
            return "is the writer running? it takes what waits in the stream"
        case TimeoutError():
            return "`energy-ledger doctor` says whether NATS can write to its disk"
    return ""


async def _found(jetstream: JetStreamContext) -> StreamConfig | None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return (await jetstream.stream_info(subjects.STREAM)).config
    except nats.js.errors.NotFoundError:
        return None
    except TimeoutError:
        # The servers' list of users may be from before the writer had the right to look. To make a stream
        # that is there already does no harm.
        return None


def _sizes() -> Iterator[int]:
    size = BYTES_MAX
    while size >= BYTES_MIN:
        yield size
        size //= 2


def _wanted(replicas: int, size: int) -> StreamConfig:
    return StreamConfig(
        name=subjects.STREAM,
        subjects=[subjects.ALL_ENVELOPES],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,  # a full stream refuses, so that the outbox keeps the envelope
        max_bytes=size,
        num_replicas=replicas,
    )


def _compare(found: StreamConfig, wanted: StreamConfig) -> None:
    for name in _COMPARED:
        has, should = getattr(found, name), getattr(wanted, name)
        if has != should:
            raise BusUnavailable(
                f"the stream {subjects.STREAM} exists with other settings: {name} is {has}, and not {should}",
                where=subjects.STREAM,
                hint="was it made by hand? remove it when it is empty, and it is made anew",
            )
