"""The doctor before the first `up`: settings that `up` would refuse are not sound."""

import re
from pathlib import Path

import pytest

from api.doctor import _first, examine
from api.finding import Finding
from api.installation_commands import TEMPLATE

MARKET = '[market]\nmechanism = "mid_market_rate"\ntariff = "th-mea-4.2-12-24kv"\n'
WAY = '[[market.wheeling]]\nfrom = "feeder-9"\nto = "feeder-1"\n'


async def found(folder: Path, text: str) -> list[Finding]:
    config = folder / "energy-ledger.toml"
    config.write_text(text)
    return await examine(config, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MARKET.replace("th-mea-4.2-12-24kv", "th-x"), "unknown-tariff: there is no tariff 'th-x'"),
        (MARKET.replace("th-mea-4.2-12-24kv", "x.toml"), "unknown-tariff: "),
        (MARKET + WAY, "settings-invalid: there is no feeder feeder-9 (market.wheeling[0].from)"),
    ],
)
async def test_a_market_that_cannot_be_published_is_told(tmp_path: Path, text: str, said: str) -> None:
    (finding,) = await found(tmp_path, TEMPLATE.read_text() + text)
    assert (finding.what, finding.verdict) == ("settings", "wrong")
    assert finding.found.startswith(said)
    assert "market." in finding.found


async def test_a_community_does_not_begin_with_a_tariff_in_another_currency(tmp_path: Path) -> None:
    text = TEMPLATE.read_text().replace('currency = "THB"', 'currency = "EUR"') + MARKET
    (finding,) = await found(tmp_path, text)
    assert finding.found.startswith("other-currency: the tariff th-mea-4.2-12-24kv is in THB, the community")
    assert not (tmp_path / "data").exists()


async def test_a_market_that_fits_is_sound(tmp_path: Path) -> None:
    first, *_ = await found(tmp_path, TEMPLATE.read_text() + MARKET)
    assert (first.what, first.verdict) == ("settings", "well")


async def test_static_keys_that_are_no_parts_a_million_are_remarked(tmp_path: Path) -> None:
    keys = '[market]\nmechanism = "sharing_key"\nkey_kind = "static"\nkeys = {school = 900_000}\n'
    findings = await found(tmp_path, TEMPLATE.read_text() + keys + 'tariff = "th-mea-4.2-12-24kv"\n')
    said = [each.found for each in findings if each.what == "market"]
    assert said == ["a remark: keys sum to 900,000; each counts as its part of that"]


async def test_a_meter_that_signs_for_itself_has_no_address_to_complain_of(tmp_path: Path) -> None:
    template = TEMPLATE.read_text()
    text = template[: template.index("[[gateways]]")]
    text += re.sub("^# ", "", template[template.index("# [[gateways]]") :], flags=re.MULTILINE)
    findings = await found(tmp_path, text)
    assert (findings[0].what, findings[0].verdict) == ("settings", "well")
    assert not [each for each in findings if each.what == "lines" and each.verdict != "well"]
    assert not [each for each in findings if "192.0.2.10" in each.found]


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "m-1"), (6, "m-1, m-2, m-3, m-4, m-5, m-6"), (7, "m-1, m-2, m-3, m-4, m-5, and 2 more")],
)
def test_names_that_are_left_out_are_counted(count: int, said: str) -> None:
    assert _first([f"m-{number}" for number in range(1, count + 1)]) == said
