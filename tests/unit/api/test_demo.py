"""The demo's campus and its tampering."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from api.demo.campus import QUARTER, Campus
from api.demo.tamper import flip_one_bit


@pytest.fixture(scope="module")
def campus() -> Campus:
    return Campus(30)


def net_wh(campus: Campus, meters: list[str], at: object) -> int:
    total = 0
    for meter in meters:
        before, after = (campus.source(meter).registers_at(when) for when in (at, at + QUARTER))
        total += after.import_wh - before.import_wh - after.export_wh + before.export_wh
    return total


def test_on_weekends_the_campus_has_more_sun_than_it_needs(campus: Campus) -> None:
    zone = ZoneInfo("Asia/Bangkok")
    meters = [life.id for life in campus.lives.meters]
    noons = [
        at for at in campus.instants()[:-1]
        if at.astimezone(zone).weekday() >= 5 and 10 <= at.astimezone(zone).hour < 14
    ]  # fmt: skip
    assert sum(net_wh(campus, meters, at) for at in noons) < 0


def test_the_main_meter_sees_the_buildings_and_a_hundredth_of_losses(campus: Campus) -> None:
    meters = [life.id for life in campus.lives.meters]
    for at in campus.instants()[:-1:97]:
        flows = [net_wh(campus, [meter], at) for meter in meters]
        main = net_wh(campus, [campus.lives.main.id], at)
        assert 0 <= main - sum(flows) <= sum(map(abs, flows)) // 50 + 1


def test_registers_never_go_back(campus: Campus) -> None:
    for life in (*campus.lives.meters, campus.lives.main):
        steps = [campus.source(life.id).registers_at(campus.begin + timedelta(days=day)) for day in range(31)]
        assert all(a.import_wh <= b.import_wh and a.export_wh <= b.export_wh for a, b in pairwise(steps))


def test_tampering_changes_one_bit_and_leaves_the_book_alone(tmp_path: Path) -> None:
    book, copy = tmp_path / "book", tmp_path / "copy"
    book.write_bytes(b'{"import_wh":120344,"x":1}\n' * 400)
    original = book.read_bytes()
    flip_one_bit(book, copy)
    changed = [(a, b) for a, b in zip(original, copy.read_bytes(), strict=True) if a != b]
    assert book.read_bytes() == original
    assert len(changed) == 1
    assert (changed[0][0] ^ changed[0][1]).bit_count() == 1
