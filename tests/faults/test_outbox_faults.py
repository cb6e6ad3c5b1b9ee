"""What happens to an outbox when the disk fails, fills up, or the power goes: real files, real processes."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.outbox import Outbox, Outgoing
from ingest.outbox_file import OutboxFull, OutboxUnavailable
from tests.unit.ingest.site import GATEWAY_KEY, START, STREAMS, LedgerDouble, read_body, sealer, tick

KEY = GATEWAY_KEY.public.id
ROOT = Path(__file__).parents[2]


class FailingDisk(sqlite3.Connection):
    """A real connection that fails at its n-th call, before or after it did what it was asked."""

    calls = 0
    fails_at = 0
    after_it_is_done = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return self._call(super().execute, *arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return self._call(super().executemany, *arguments)

    def _call(self, call: Callable[..., sqlite3.Cursor], *arguments: Any) -> sqlite3.Cursor:
        cls = type(self)
        cls.calls += 1
        if cls.calls != cls.fails_at:
            return call(*arguments)
        if cls.after_it_is_done:
            call(*arguments)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def failing_disk(fails_at: int, *, after_it_is_done: bool) -> type[FailingDisk]:
    return type(
        "Disk", (FailingDisk,), {"calls": 0, "fails_at": fails_at, "after_it_is_done": after_it_is_done}
    )


class Life:
    """A gateway's life with an outbox: what fails is tried again, as the recorder and the sender do."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.ledger = LedgerDouble()
        self.kept: list[Outgoing] = []
        self.failures = 0

    def insist(self, act: Callable[[], object]) -> None:
        for _ in range(3):
            try:
                act()
            except OutboxUnavailable:
                self.failures += 1
            else:
                return
        raise AssertionError("it fails for ever")

    def keep(self, bodies: list[Outgoing]) -> None:
        self.kept += bodies
        self.insist(lambda: self.outbox.append(bodies, START, {"alarms": b"[]"}))

    def send(self, envelopes: int) -> None:
        """Cut so many envelopes, and have all that are in flight answered."""
        for _ in range(envelopes):
            self.insist(lambda: self.outbox.cut(KEY, sealer(), {STREAMS[0]: 2}))
        self.insist(self._answer_all)

    def _answer_all(self) -> None:
        for made in self.outbox.cuts():
            (answer, *_) = self.ledger.take(made.envelope)
            refusal = answer.refusal
            if answer.is_safe:
                self.outbox.release(made, answer.heads)
            elif answer.code == "malformed" and refusal and refusal.stream and refusal.sequence:
                self.outbox.refuse(made, refusal.stream, refusal.sequence, answer.code, refusal.what)
                return
            elif answer.code != "sequence-gap":
                self.outbox.rechain(made, answer.heads)
                return

    def live(self) -> None:
        self.insist(lambda: self.outbox.tell(self.ledger.tell().heads, anew=True))
        self.keep(tick(0))
        self.send(1)
        bad = Outgoing(STREAMS[1], b'{"type":"unheard-of/1"}')
        self.keep([*tick(1), bad, *tick(2), Outgoing(STREAMS[0], read_body(3))])
        self.send(2)
        self.insist(lambda: self.outbox.withdraw(self.outbox.cuts()[0]) if self.outbox.cuts() else None)
        for _ in range(4):
            self.send(2)

    def check(self) -> None:
        refused = [Outgoing(one.stream, one.body) for one in self.outbox.refusals()]
        assert [one.body for one in refused] == [b'{"type":"unheard-of/1"}']
        assert self.outbox.standing().waiting == 0
        for stream in STREAMS:
            wanted = [one for one in self.kept if one.stream == stream and one not in refused]
            assert [one for one in self.ledger.bodies if one.stream == stream] == wanted


@pytest.mark.parametrize("after_it_is_done", [False, True], ids=["failed", "failed but done"])
def test_each_call_of_the_disk_may_fail_and_every_body_is_recorded_once(
    tmp_path: Path, after_it_is_done: bool
) -> None:
    path = tmp_path / "gw-1.db"
    Outbox.open(path, reserve_bytes=0).close()
    template = path.read_bytes()
    opening_calls = calls = 0
    fails_at = 0
    while fails_at <= calls:
        for left in tmp_path.iterdir():
            left.unlink()
        path.write_bytes(template)
        disk = failing_disk(fails_at, after_it_is_done=after_it_is_done)
        outbox = Outbox.open(path, factory=disk, reserve_bytes=0)
        opening_calls = opening_calls or disk.calls
        life = Life(outbox)
        life.live()
        calls = calls or disk.calls  # of the first life, in which nothing fails
        disk.fails_at = 0
        life.check()
        outbox.close()
        assert life.failures == bool(fails_at) or (after_it_is_done and not life.failures)
        fails_at = max(fails_at + 1, opening_calls + 1)
    assert calls > 60


def test_a_failed_append_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    disk = failing_disk(0, after_it_is_done=True)
    outbox = Outbox.open(tmp_path / "gw-1.db", factory=disk, reserve_bytes=0)
    disk.fails_at = disk.calls + 9  # five looks, BEGIN, two statements, COMMIT
    outbox.append(tick(0), START)
    assert disk.calls > disk.fails_at
    assert outbox.standing().waiting == 3
    outbox.close()


# --- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(outbox: Outbox) -> int:
    """Keep ticks until there is no room; how many were kept."""
    ticks = 0
    while True:
        try:
            outbox.append([one for quarter in range(50) for one in tick(quarter)], START)
        except OutboxFull:
            return ticks
        ticks += 50


def exhaust(folder: Path) -> None:
    """Take the last byte of the disk."""
    with contextlib.suppress(OSError), (folder / "log").open("wb", buffering=0) as log:
        while log.write(bytes(4096)):
            pass
    assert shutil.disk_usage(folder).free == 0


def test_a_full_disk_refuses_a_tick_whole_and_keeps_what_it_has(small_disk: Path) -> None:
    outbox = Outbox.open(small_disk / "gw-1.db", reserve_bytes=0)
    ballast = small_disk / "log"
    ballast.write_bytes(bytes(6 * 2**20))
    ticks = fill(outbox)
    for _ in range(3):
        with pytest.raises(OutboxFull) as caught:
            outbox.append([one for quarter in range(50) for one in tick(quarter)], START)
        assert "free some disk space" in caught.value.hint
        assert outbox.standing().waiting == ticks * len(STREAMS)
    ballast.unlink()
    outbox.append(tick(0), START)
    assert outbox.standing().waiting == (ticks + 1) * len(STREAMS)
    outbox.close()
    again = Outbox.open(small_disk / "gw-1.db", reserve_bytes=0)
    assert again.standing().waiting == (ticks + 1) * len(STREAMS)
    again.close()


def test_a_full_disk_can_still_be_emptied(small_disk: Path) -> None:
    outbox, ledger = Outbox.open(small_disk / "gw-1.db", reserve_bytes=4 * 2**20), LedgerDouble()
    outbox.tell(ledger.tell().heads, anew=True)
    ticks = fill(outbox)
    exhaust(small_disk)
    while (made := outbox.cut(KEY, sealer())) is not None:
        (answer,) = ledger.take(made.envelope)
        outbox.release(made, answer.heads)
    assert outbox.standing().waiting == 0
    assert len(ledger.bodies) == ticks * len(STREAMS)
    outbox.close()


class SmallFile(sqlite3.Connection):
    """A database that may have so many pages, for those who cannot mount a small disk."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        super().execute("PRAGMA max_page_count = 40")
        return super().execute(*arguments)


def test_a_full_file_refuses_a_tick_whole_and_keeps_what_it_has(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "gw-1.db", factory=SmallFile, reserve_bytes=0)
    ticks = fill(outbox)
    assert 0 < outbox.standing().waiting == ticks * len(STREAMS)
    outbox.close()
    again = Outbox.open(tmp_path / "gw-1.db", reserve_bytes=0)
    again.append(tick(0), START)
    assert again.standing().waiting == (ticks + 1) * len(STREAMS)
    again.close()


def test_room_for_emptying_is_laid_aside_again_once_all_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "gw-1.db"
    reserve = tmp_path / "gw-1.db.reserve"
    outbox, ledger = Outbox.open(path, reserve_bytes=2**18), LedgerDouble()
    assert reserve.stat().st_size == 2**18
    reserve.unlink()
    outbox.append(tick(0), START)
    outbox.tell(ledger.tell().heads, anew=True)
    made = outbox.cut(KEY, sealer())
    assert made is not None
    outbox.release(made, ledger.take(made.envelope)[0].heads)
    assert reserve.stat().st_size == 2**18
    outbox.close()


# --- sudden ends ---------------------------------------------------------------------------------

KEEPER = """
import sys
from pathlib import Path
from ingest.outbox import Outbox
from tests.unit.ingest.site import START, tick
outbox = Outbox.open(Path(sys.argv[1]), reserve_bytes=0)
quarter = int(sys.argv[2])
while True:
    outbox.append(tick(quarter), START)
    print(quarter, file=sys.stderr, flush=True)
    quarter += 1
"""


def test_what_was_kept_before_a_kill_is_there_and_no_tick_is_there_by_half(tmp_path: Path) -> None:
    path = tmp_path / "gw-1.db"
    quarter = 0
    for lines in (1, 40, 7):
        command = [sys.executable, "-c", KEEPER, str(path), str(quarter)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as keeper:
            assert keeper.stderr is not None
            for _ in range(lines):
                quarter = int(keeper.stderr.readline())
            os.kill(keeper.pid, signal.SIGKILL)
            left = [int(line) for line in keeper.stderr.read().splitlines()]
        quarter = max([quarter, *left]) + 1
        outbox = Outbox.open(path, reserve_bytes=0)
        waiting = outbox.standing().waiting
        outbox.close()
        assert waiting in (quarter * len(STREAMS), (quarter + 1) * len(STREAMS))
        quarter = waiting // len(STREAMS)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[int]]:
    """The files of an outbox that was not closed, and how long its log was after each tick."""
    folder = tmp_path_factory.mktemp("unfinished")
    path, log = folder / "gw-1.db", folder / "gw-1.db-wal"
    outbox = Outbox.open(path, reserve_bytes=0)
    lengths = []
    for quarter in range(12):
        outbox.append(tick(quarter), START)
        lengths.append(log.stat().st_size)
    files = path.read_bytes(), log.read_bytes(), lengths
    outbox.close()
    return files


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_a_power_failure_leaves_of_the_log_the_outbox_holds_whole_ticks(
    unfinished: tuple[bytes, bytes, list[int]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    file, log, lengths = unfinished
    kept = data.draw(st.integers(0, len(log)))
    torn = data.draw(st.binary(max_size=64))
    folder = tmp_path_factory.mktemp("torn")
    (folder / "gw-1.db").write_bytes(file)
    (folder / "gw-1.db-wal").write_bytes((log[:kept] + torn)[: max(kept, len(log))])
    outbox = Outbox.open(folder / "gw-1.db", reserve_bytes=0)
    whole = sum(length <= kept for length in lengths)
    assert outbox.standing().waiting == whole * len(STREAMS)
    outbox.append(tick(99), START)
    outbox.close()
