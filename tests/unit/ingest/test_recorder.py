"""The recorder on a disk that fills up: nothing is lost that memory can hold, and people are told."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ingest import recorder as module
from ingest.alarms import Alarms
from ingest.meter_reading import Reading
from ingest.observation import Observation
from ingest.outbox import Outbox
from ingest.recorder import Recorder
from ingest.validation import ALARMS_MEMORY, Validation
from ledger.clock import VirtualClock
from ledger.events import AlarmRaised, read_bodies
from tests.unit.ingest.site import GATEWAY, GATEWAY_KEY, QUARTER, RATED_W, START, LedgerDouble, sealer


class Disk(sqlite3.Connection):
    """A real database that says it is full while it is told to."""

    full = False

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        if type(self).full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().executemany(*arguments)


class Desk:
    """A recorder over an outbox on such a disk."""

    def __init__(self, folder: Path) -> None:
        self.disk = type("FillingDisk", (Disk,), {})
        self.path = folder / "gw-1.db"
        self.clock = VirtualClock(START)
        self.wakes = 0
        self.open()

    def open(self) -> None:
        self.outbox = Outbox.open(self.path, factory=self.disk, reserve_bytes=0)
        memory = self.outbox.recall()
        alarms = Alarms(GATEWAY, memory.get(ALARMS_MEMORY, b"[]"))
        validation = Validation({"m-1": RATED_W}, alarms, memory)
        self.recorder = Recorder(self.outbox, validation, alarms, self.clock, self.wake)

    def wake(self) -> None:
        self.wakes += 1

    async def see(self, import_wh: int) -> None:
        self.clock.advance(QUARTER)
        reading = Reading(import_wh, 0, None, "00")
        await self.recorder.observe([Observation("m-1", self.clock.now(), reading)])

    def events(self) -> list[str]:
        """What is in the outbox, in order, as short words."""
        ledger = LedgerDouble()
        self.outbox.tell(ledger.tell().heads, anew=True)
        made = self.outbox.cut(GATEWAY_KEY.public.id, sealer())
        assert made is not None
        self.outbox.withdraw(made)
        assert ledger.take(made.envelope)[0].code == "recorded"
        events = read_bodies([one.body for one in ledger.bodies])
        return sorted(
            event.alarm if isinstance(event, AlarmRaised) else str(event.import_wh) for event in events
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_readings_wait_in_memory_for_room_and_an_alarm_tells_of_it(desk: Desk) -> None:
    await desk.see(100)
    assert desk.wakes == 1
    desk.disk.full = True
    for import_wh in (200, 300):
        await desk.see(import_wh)
    assert (desk.recorder.unsaved, desk.outbox.standing().waiting) == (3, 1)
    assert desk.wakes == 1
    desk.disk.full = False
    await desk.see(400)
    assert (desk.recorder.unsaved, desk.recorder.lost) == (0, 0)
    assert desk.events() == ["100", "200", "300", "400", "outbox-full"]
    desk.outbox.close()


async def test_the_alarm_is_raised_again_only_after_there_was_room(desk: Desk) -> None:
    for full in (True, True, False, True, False):
        desk.disk.full = full
        await desk.see(100)
    assert desk.events().count("outbox-full") == 2
    desk.outbox.close()


async def test_what_waits_in_memory_can_be_saved_at_the_end(desk: Desk) -> None:
    desk.disk.full = True
    await desk.see(100)
    desk.disk.full = False
    await desk.recorder.flush()
    assert desk.events() == ["100", "outbox-full"]
    desk.outbox.close()


async def test_memory_is_bounded_and_what_is_dropped_is_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNSAVED_MAX", 5)
    desk.outbox.close()
    desk.open()
    desk.disk.full = True
    for import_wh in range(100, 110):
        await desk.see(import_wh)
    assert (desk.recorder.unsaved, desk.recorder.lost) == (5, 6)
    desk.disk.full = False
    await desk.see(110)
    assert desk.events()[-2:] == ["109", "110"]
    desk.outbox.close()


async def test_standing_alarms_outlive_a_restart(desk: Desk) -> None:
    await desk.recorder.raise_once("clock-drift", "90 s")
    desk.outbox.close()
    desk.open()
    await desk.recorder.raise_once("clock-drift", "91 s")
    await desk.recorder.settle("clock-drift")
    desk.outbox.close()
    desk.open()
    await desk.recorder.raise_once("clock-drift", "92 s")
    await desk.recorder.announce("fork", "somebody else")
    assert desk.events() == ["clock-drift", "clock-drift", "fork"]
    desk.outbox.close()


async def test_a_suspect_reading_is_still_judged_after_a_restart_in_the_middle(desk: Desk) -> None:
    await desk.see(50_000)
    desk.outbox.close()
    desk.open()
    await desk.see(7)
    assert desk.events() == ["50000", "7", "register-rollback"]
    desk.outbox.close()
