"""Where an outbox cannot be: told in coded words, and nothing that is there is touched."""

from pathlib import Path

import pytest

from ingest.outbox import Outbox
from ingest.outbox_file import OutboxUnavailable


def test_a_link_to_a_disk_that_is_not_there_is_kept_and_no_other_outbox_is_made(tmp_path: Path) -> None:
    link = tmp_path / "gw-1.db"
    link.symlink_to(tmp_path / "not-mounted" / "gw-1.db")
    with pytest.raises(OutboxUnavailable):
        Outbox.open(link, reserve_bytes=0)
    assert link.is_symlink()
    (tmp_path / "not-mounted").mkdir()
    Outbox.open(tmp_path / "not-mounted" / "gw-1.db", reserve_bytes=0).close()
    Outbox.open(link, reserve_bytes=0).close()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "loop"])
def test_a_path_that_leads_nowhere_is_a_coded_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OutboxUnavailable):
        Outbox.open(tmp_path / name, reserve_bytes=0)
