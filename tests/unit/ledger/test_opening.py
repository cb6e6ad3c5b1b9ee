"""The keys of a ledger and the first event of its book."""

from pathlib import Path

import pytest

from ledger.keys import KeyFile
from ledger.opening import LedgerKeys, service_public


def test_keys_are_made_once_and_found_again(tmp_path: Path) -> None:
    made, found = (LedgerKeys.load_or_create(tmp_path / "keys") for _ in range(2))
    assert made.service.public.id == found.service.public.id
    assert service_public(tmp_path / "keys").id == made.service.public.id


@pytest.mark.parametrize("lost", ["service", "log", "operator"])
def test_a_lost_key_is_asked_for_and_never_made_anew(tmp_path: Path, lost: str) -> None:
    LedgerKeys.load_or_create(tmp_path)
    (tmp_path / f"{lost}.pem").unlink()
    with pytest.raises(KeyFile, match=f"{lost}.pem is missing"):
        LedgerKeys.load_or_create(tmp_path)
    assert not (tmp_path / f"{lost}.pem").exists()
