"""What a connection to the store says of settings that lead nowhere, and that it tells no secret."""

from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.postgres import PostgresSettings, connect

SECRET = "s3cr3t"
URLS = {
    "no address": f"{SECRET}@nowhere",
    "a port that is none": f"postgresql://u:{SECRET}@127.0.0.1:port/x",
    "a bracket that does not close": f"postgresql://u:{SECRET}@[::1/x",
    "an option that is none": f"postgresql://u:{SECRET}@127.0.0.1:1/x?sslmode=what",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_an_address_that_is_none_is_called_so_and_not_told(url: str) -> None:
    with pytest.raises(LedgerError) as refused:
        await connect(PostgresSettings(url=url), name="test")
    assert refused.value.code == "store-settings"
    assert SECRET not in refused.value.diagnostics()


@pytest.mark.parametrize("name", ["missing", ".", "bytes", "a\0b"])
async def test_a_file_that_holds_no_password_is_named_and_not_quoted(tmp_path: Path, name: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff" + SECRET.encode())
    file = str(tmp_path / name)
    with pytest.raises(LedgerError) as refused:
        await connect(PostgresSettings("postgresql://u@127.0.0.1:1/x", file), name="test")
    assert (refused.value.code, refused.value.where) == ("store-unavailable", file)
    assert SECRET not in refused.value.diagnostics()
