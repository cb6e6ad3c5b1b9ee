"""What stands under [api]."""

from pathlib import Path

import pytest

from api.http.settings import api_from
from ledger.settings import SettingsInvalid


def test_networks_that_may_be_reached_are_networks() -> None:
    wanted = {"outgoing_allow": ["127.0.0.0/8", "fd00::/8"]}
    assert api_from({"api": wanted}, Path("x.toml")).outgoing_allow == ("127.0.0.0/8", "fd00::/8")
    with pytest.raises(SettingsInvalid) as refused:
        api_from({"api": {"outgoing_allow": ["127.0.0.1/8"]}}, Path("x.toml"))
    assert refused.value.where == "x.toml: api.outgoing_allow"
    assert "127.0.0.0/8" in refused.value.hint
