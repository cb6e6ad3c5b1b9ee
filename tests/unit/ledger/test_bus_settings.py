"""What a connection says of settings that lead nowhere: what is wrong, where, and no secret."""

from pathlib import Path

import msgspec
import pytest

from ledger.bus import Bus, BusSettings, BusUnavailable
from ledger.writer import WriterSettings

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("url", [f"nats://u:s3cr3t@{NOBODY}", f"nats://{NOBODY},nats://s3cr3t@{NOBODY}"])
async def test_a_secret_in_an_address_is_not_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BusUnavailable) as refused:
        await Bus.connect(BusSettings(url=url), "test", patience_seconds=0.2)
    assert NOBODY in refused.value.where
    assert "s3cr3t@" not in refused.value.diagnostics() + str(capsys.readouterr())


@pytest.mark.parametrize("key", ["nkey_seed_file", "ca_file"])
@pytest.mark.parametrize("name", ["missing", ".", "bytes", "a\0b"])
async def test_a_file_of_secrets_that_cannot_be_used_is_named_and_not_quoted(
    tmp_path: Path, key: str, name: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfes3cr3t")
    settings = BusSettings(**{"url": f"nats://{NOBODY}", key: str(tmp_path / name)})  # type: ignore[arg-type]
    with pytest.raises(BusUnavailable) as refused:
        await Bus.connect(settings, "test", patience_seconds=0.2)
    assert refused.value.where == str(tmp_path / name)
    assert "s3cr3t" not in refused.value.diagnostics()


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 61.0, float("nan"), 0.0])
def test_a_writer_waits_for_some_time_but_not_for_ever(seconds: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"wait_seconds": seconds}, WriterSettings)
