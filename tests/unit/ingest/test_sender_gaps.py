"""The sender between two writers: one refuses before it has seen what the other recorded."""

from pathlib import Path

from ledger.admission import SequenceGap
from ledger.envelope import read_envelope
from ledger.receipt import Answer, Refusal, StreamHead
from tests.unit.ingest.site import COMMUNITY, GATEWAY, tick
from tests.unit.ingest.station import Station, stationed


async def sent_after_a_receipt(station: Station) -> tuple[list[StreamHead], str]:
    """Have one envelope recorded and the next one sent; the heads before both, and the second's digest."""
    heads = station.ledger.tell().heads
    station.start()
    station.keep(tick(0))
    await station.drain()
    station.bus.swallow = 1
    station.keep(tick(1))
    await station.until(lambda: len(station.bus.published) == 2)
    (cut,) = station.outbox.cuts()
    return heads, cut.digest


async def refuse(station: Station, heads: list[StreamHead], digest: str) -> None:
    """Answer as a writer does that knows no more than `heads`."""
    refusal = Refusal(what="the book ends at 0", sequence=2, stream=heads[0].stream)
    answer = Answer(SequenceGap.code, COMMUNITY, GATEWAY, digest, heads, station.clock.now(), refusal)
    await station.bus.answer(answer)


async def test_a_refusal_from_before_the_last_receipt_accuses_nobody(tmp_path: Path) -> None:
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        await refuse(station, *await sent_after_a_receipt(station))
        await station.drain()
        assert station.is_complete
        assert station.bus.published[2:] == station.bus.published[1:2], "the same bytes once more"
        assert [answer.code for answer in station.ledger.answers] == ["recorded", "recorded"]
        assert station.bell.rung == []


async def test_a_ledger_that_keeps_to_its_refusal_is_believed(tmp_path: Path) -> None:
    """As one does that was restored from a backup."""
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        heads, digest = await sent_after_a_receipt(station)
        station.ledger.heads.clear()
        station.ledger.recorded.clear()
        await refuse(station, heads, digest)
        await station.drain()
        assert read_envelope(station.bus.published[-1]).runs[0].first == 1
        assert station.recorded[-3:] == station.kept[3:]
