"""What commands of accounts and billing refuse before they ask any server."""

from pathlib import Path

import pytest

from ledger.settings import SettingsInvalid
from settlement.account_commands import OtherForm, journal, statement
from settlement.billing_commands import prove


@pytest.mark.parametrize("name", ["j.pdf", "journal", "j.xls"])
def test_a_journal_is_written_in_no_form_that_its_file_does_not_name(name: str) -> None:
    with pytest.raises(OtherForm) as caught:
        journal("2026-06", file=Path(name))
    assert (caught.value.where, caught.value.hint) == (name, "let it end in .csv or .xlsx")


def test_and_neither_is_a_statement() -> None:
    with pytest.raises(OtherForm, match="form"):
        statement("b-1", "2026-06", file=Path("s.xlsx"))


def test_a_proof_without_settings_says_that_it_asks_the_ledgers_store(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no settings file") as caught:
        prove("campus-2026-000001/2", config=tmp_path / "energy-ledger.toml")
    assert "the ledger's store" in caught.value.hint
