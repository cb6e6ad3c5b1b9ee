"""What is kept of the demo is whole, wherever the disks end, and overwrites nobody's settings."""

import errno
import shutil
from pathlib import Path

import pytest

from api.demo.keeping import CONFIG, DATA, check_room, keep_all
from settlement.billing.files import CannotWrite
from tests.unit.settlement.invoice_samples import invoice


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo that has ended, its folder on another disk."""
    folder = tmp_path / "demo"
    (folder / DATA / "postgres").mkdir(parents=True)
    (folder / DATA / "postgres" / "PG_VERSION").write_text("18")
    (folder / "campus.book.jsonl").write_text("{}")
    rename = Path.rename

    def from_disk_to_disk(self: Path, target: Path) -> Path:
        if self == folder / DATA:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", from_disk_to_disk)
    return folder


def keep(demo: Path, look: Path) -> None:
    keep_all(look, demo / DATA, demo / "campus.book.jsonl", [invoice()])


def test_from_disk_to_disk_it_is_copied_whole(demo: Path, tmp_path: Path) -> None:
    look = tmp_path / "look"
    check_room(look)
    keep(demo, look)
    assert (look / DATA / "postgres" / "PG_VERSION").read_text() == "18"
    assert "[market]" in (look / CONFIG).read_text()
    assert {each.name for each in look.iterdir()} == {DATA, CONFIG, "campus.book.jsonl", "invoices"}
    with pytest.raises(CannotWrite):
        check_room(look)


def test_a_disk_that_is_full_leaves_nothing_that_could_be_started(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path, symlinks: bool) -> None:
        target.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    look = tmp_path / "look"
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(CannotWrite):
        keep(demo, look)
    assert {each.name for each in look.iterdir()} == {"campus.book.jsonl", "invoices"}
    check_room(look)


def test_settings_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("mine")
    with pytest.raises(CannotWrite) as caught:
        check_room(tmp_path)
    assert caught.value.where == str(tmp_path / CONFIG)
