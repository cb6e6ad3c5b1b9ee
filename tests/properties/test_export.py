"""Whatever a ledger records, in whatever order, its book and every meter's extract are verified."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.entry import EMPTY, Head
from ledger.events import AnyEvent, MeterAssigned
from ledger.registry import OPERATOR
from ledger.verify import verify_file
from ledger.verify.plain import PlainReader
from tests.unit.ledger.campus import ALARM, KEYS, MORNING, key, readings, rotated
from tests.unit.ledger.memory_ledger import MemoryLedger, open_ledger, write_book, write_extract

Runs = dict[str, list[AnyEvent]]
METER = {"gw-1": "m-1", "gw-2": "m-2", "m-9": "m-9"}


class Life:
    """A ledger and its devices, who remember where their chains went on before the last envelopes."""

    def __init__(self) -> None:
        self.ledger: MemoryLedger = open_ledger()
        self.keys = dict(KEYS)
        self.older: dict[str, tuple[dict[str, Head], int]] = {}
        self.rotations = 0

    def taken(self, device: str) -> int:
        return self.ledger.heads.get(f"meter/{METER[device]}", EMPTY).sequence

    def read(self, device: str, count: int) -> None:
        """New readings."""
        begin = self.taken(device)
        self.older[device] = (dict(self.ledger.heads), begin)
        self._send(device, {f"meter/{METER[device]}": readings(begin + 1, begin + 1 + count)})

    def read_with_alarm(self, device: str, count: int) -> None:
        """New readings and an alarm in one envelope."""
        begin = self.taken(device)
        new = readings(begin + 1, begin + 1 + count)
        runs: Runs = {f"meter/{METER[device]}": new, f"device/{device}": [ALARM]}
        self.older[device] = (dict(self.ledger.heads), begin)
        self._send(device, runs)

    def repeat(self, device: str, count: int) -> None:
        """What was sent before comes again with something new: behind the head, at it or beyond it."""
        if device not in self.older:
            return
        heads, begin = self.older[device]
        stream = f"device/{device}"
        heads = heads | ({stream: self.ledger.heads[stream]} if stream in self.ledger.heads else {})
        again = readings(begin + 1, begin + 1 + count)
        runs: Runs = {f"meter/{METER[device]}": again, stream: [ALARM]}
        self.ledger.take(self.ledger.sealed(device, runs, self.keys[device], heads))

    def rotate(self, device: str, count: int) -> None:
        """The device's next key."""
        self.rotations += 1
        following = key(100 + self.rotations)
        self._send(device, {f"device/{device}": [rotated(device, following)]})
        self.keys[device] = following

    def reassign(self, device: str, count: int) -> None:
        """The registry changes without changing who reads."""
        self._send(OPERATOR, {"registry": [MeterAssigned(meter=METER[device], device=device, since=MORNING)]})

    def seal(self, device: str, count: int) -> None:
        """A block."""
        self.ledger.seal()

    def _send(self, device: str, runs: Runs) -> None:
        self.ledger.send(device, runs, self.keys[device])


Act = Callable[[Life, str, int], None]
ACTS: list[Act] = [Life.read, Life.read_with_alarm, Life.repeat, Life.rotate, Life.reassign, Life.seal]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(sorted(METER)), st.integers(1, 5))))
def test_whatever_is_recorded_is_verified(
    tmp_path: Path, acts: list[tuple[Act, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life()
    for act, device, count in acts:
        act(life, device, count)
    book = write_book(life.ledger, tmp_path / "book.jsonl")
    report = verify_file(book)
    assert report.verified, report.verdicts
    assert report.size == life.ledger.edge.size
    with monkeypatch.context() as closely:
        closely.setattr(PlainReader, "read", lambda self, data: None)
        assert verify_file(book) == report
    for meter in METER.values():
        extract = verify_file(write_extract(life.ledger, meter, tmp_path / "extract.jsonl"))
        assert extract.verified, extract.verdicts
