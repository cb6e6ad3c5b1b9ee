"""Operators publish rules and tariffs over the API: judged, told ahead, once, and never for the past."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.clock import rfc3339
from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api
from tests.support.campus import MORNING, QUARTER
from tests.support.store import read_book
from tests.support.trading import DAY, FLAT, HOUR, quarters

RULES, TARIFFS = f"{V1}/market/rules", f"{V1}/market/tariffs"
NOW = MORNING + DAY
LATER = rfc3339(NOW + DAY)
MID = {"mechanism": "mid_market_rate", "tariff": "flat", "gate_minutes": 0, "final_days": 1}
DEARER = FLAT.replace("energy_per_kwh = 4", "energy_per_kwh = 5")


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await found.site.ledgers_clock.sleep_until(NOW)
        found.backend.clock = found.site.ledgers_clock
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


async def events(served: Api) -> int:
    """How many there are in the stream of the market."""
    book = await read_book(served.site.store, "campus")
    return book.heads["market"].sequence


async def items(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_rules_are_told_ahead_published_once_and_hold_from_where_the_gate_is_open(
    served: Api, operator: httpx.AsyncClient
) -> None:
    begun = await events(served)
    dry = await operator.post(RULES, json=MID, params={"dry_run": True})
    assert (dry.status_code, await events(served)) == (200, begun)
    told = dry.json()
    assert (told["published"], told["number"], told["counts_from"]) == (False, None, rfc3339(NOW + QUARTER))
    assert told["changes"] == [
        {"field": "mechanism", "before": "uniform_price", "after": "mid_market_rate"}
    ]  # fmt: skip
    done = await operator.post(RULES, json=MID)
    assert done.status_code == 201, done.text
    assert done.json() == {**told, "published": True, "number": begun + 1}
    again = await operator.post(RULES, json=MID)
    assert (again.status_code, again.json()["changes"], await events(served)) == (200, [], begun + 1)
    first, second = await items(operator, RULES)
    assert first["until"] == second["rules"]["begin"] == told["counts_from"]
    assert (second["until"], second["rules"]["mechanism"]) == (None, "mid_market_rate")
    one = await operator.get(f"{RULES}/{begun + 1}")
    assert one.json() == second
    async with served.client("auditor") as auditor:
        assert await items(auditor, RULES) == [first, second]
        entry = (await items(auditor, f"{V1}/streams/market/entries"))[-1]
        assert sha256(entry["body"].encode()).hexdigest() == second["digest"] == entry["body_hash"]
        refused = await auditor.post(RULES, json=MID)
        assert (refused.status_code, refused.json()["code"]) == (403, "not-allowed")


@pytest.mark.parametrize(
    ("told", "begin"),
    [
        ("2026-07-01", "2026-06-30T17:00:00Z"),
        ("2026-07-01T00:15", "2026-06-30T17:15:00Z"),
        ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
    ],
)
async def test_rules_begin_as_orders_do_on_a_date_at_a_local_time_or_at_an_instant(
    operator: httpx.AsyncClient, told: str, begin: str
) -> None:
    answer = await operator.post(RULES, json={**MID, "begin": told}, params={"dry_run": True})
    assert (answer.status_code, answer.json()["counts_from"]) == (200, begin), answer.text


@pytest.mark.parametrize(
    ("change", "status", "code", "where"),
    [
        ({"begin": rfc3339(MORNING + HOUR)}, 409, "gate-closed", "market"),
        ({"begin": rfc3339(MORNING)}, 409, "contradiction", ""),
        ({"begin": rfc3339(NOW + DAY + timedelta(minutes=1))}, 422, "bad-input", "begin"),
        ({"begin": "9998-01-01T00:00:00Z"}, 422, "bad-cell", "begin"),
        ({"begin": "2026-13-01"}, 422, "bad-cell", "begin"),
        ({"begin": "2026-06-01"}, 409, "contradiction", ""),
        ({"tariff": "th-x"}, 422, "unknown-tariff", "tariff"),
        ({"mechanism": "sharing_key", "key_kind": "static"}, 422, "settings-invalid", "keys"),
        ({"keys": {"b-9": 1}}, 422, "settings-invalid", "keys.b-9"),
        ({"wheeling": [{"from": "f-1", "to": "f-9"}]}, 422, "settings-invalid", "wheeling[0].to"),
        ({"mechanism": "auction"}, 400, "bad-request", ""),
        ({"gate_minute": 3}, 400, "bad-request", ""),
    ],
)
async def test_rules_that_nobody_can_settle_by_or_of_the_past_are_refused_and_not_written(
    served: Api, operator: httpx.AsyncClient, change: dict[str, Any], status: int, code: str, where: str
) -> None:
    begun = await events(served)
    for dry_run in (True, False):
        answer = await operator.post(RULES, json={**MID, **change}, params={"dry_run": dry_run})
        found = answer.json()
        assert (answer.status_code, found["code"]) == (status, code), answer.text
        assert not where or found["where"] == where
    assert await events(served) == begun


async def test_a_tariff_published_anew_tells_from_what_day_on_it_counts_and_settles_again(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await quarters(served.site, 0, 4)
    await served.site.clock.sleep_until(NOW)
    await served.site.settle()
    new = {"tariff": "flat", "document": DEARER}
    dry = (await operator.post(TARIFFS, json=new, params={"dry_run": True})).json()
    assert dry == {"published": False, "counts_from": "2026-06-01", "changes": ["document"], "number": None}
    done = await operator.post(TARIFFS, json=new)
    assert (done.status_code, done.json()["published"]) == (201, True)
    assert (await operator.post(TARIFFS, json=new)).status_code == 200, "it says the same"
    first, second = await items(operator, TARIFFS)
    assert (first["is_newest"], second["is_newest"], second["problem"]) == (False, True, None)
    text = (await operator.get(f"{TARIFFS}/{second['number']}")).json()
    assert (text["document"], text["beside"], text["published"]) == (DEARER, {}, second)
    assert (await operator.get(f"{TARIFFS}/{second['number'] + 1}")).status_code == 404
    assert (await operator.get(f"{RULES}/{second['number']}")).status_code == 404
    (again,) = await served.site.settle()
    assert again.revised == 4, "the quarters with energy, at the other price"


async def test_a_run_tells_what_it_was_computed_from_with_the_events_that_published_it(
    served: Api, operator: httpx.AsyncClient
) -> None:
    await quarters(served.site, 0, 4)
    await served.site.clock.sleep_until(NOW)
    (settled,) = await served.site.settle()
    await operator.post(TARIFFS, json={"tariff": "flat", "document": DEARER})
    await operator.post(RULES, json=MID)
    await served.site.settle()
    async with served.client("auditor") as auditor:
        first = (await auditor.get(f"{V1}/runs/1/inputs")).json()
        second = (await auditor.get(f"{V1}/runs/2/inputs")).json()
        assert (first["run"]["tree_size"], first["run"]["root"]) == (settled.tree_size, settled.root)
        assert (first["run"]["rules"], first["run"]["result"]) == (settled.rules, settled.result)
        for found, price in ((first, "energy_per_kwh = 4"), (second, "energy_per_kwh = 5")):
            (rules,), (tariff,) = found["rules"], found["tariffs"]
            assert (rules["tariff"], tariff["tariff"], rules["begin"]) == ("flat", "flat", rfc3339(MORNING))
            shown = (await auditor.get(rules["published"]["link"])).json()
            assert shown["digest"] == rules["published"]["digest"]
            assert shown["position"] < found["run"]["tree_size"]
            text = (await auditor.get(tariff["published"]["link"])).json()
            assert text["published"]["digest"] == tariff["published"]["digest"]
            assert price in text["document"], "as the run knew it"
            assert found["repeat"][-1].startswith("energy-ledger verify campus.jsonl")
        assert (await auditor.get(f"{V1}/runs/99/inputs")).status_code == 404


async def test_the_ledgers_own_tariff_is_published_by_its_name_and_then_traded_by(
    served: Api, operator: httpx.AsyncClient
) -> None:
    name = "th-mea-4.2-12-24kv"
    done = await operator.post(TARIFFS, json={"tariff": name})
    assert (done.status_code, done.json()["counts_from"]) == (201, None)
    assert "holidays/" in " ".join(done.json()["changes"])
    ruled = await operator.post(RULES, json={**MID, "tariff": name, "begin": LATER})
    assert (ruled.status_code, ruled.json()["counts_from"]) == (201, LATER)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tariff": "th-x"}, "unknown-tariff"),
        ({"tariff": "pyproject.toml"}, "unknown-tariff"),
        ({"tariff": "flat", "document": "name = "}, "tariff-invalid"),
        ({"tariff": "flat", "document": FLAT.replace("THB", "EUR")}, "other-currency"),
        ({"tariff": "flat", "document": FLAT.replace("Asia/Bangkok", "Europe/Berlin")}, "other-zone"),
        ({"tariff": "flat", "document": FLAT, "beside": {"holidays/x.toml": ""}}, "tariff-invalid"),
        ({"tariff": "flat", "document": f'holidays = "../../x"\n{FLAT}'}, "tariff-invalid"),
        ({"tariff": "flat", "beside": {"holidays/x.toml": ""}}, "bad-input"),
    ],
)
async def test_a_tariff_that_nobody_can_settle_by_is_refused(
    served: Api, operator: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    begun = await events(served)
    answer = await operator.post(TARIFFS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert await events(served) == begun


async def test_who_publish_at_once_are_one_after_the_other_and_a_key_publishes_once(
    served: Api, operator: httpx.AsyncClient
) -> None:
    begun = await events(served)
    bodies = [{**MID, "begin": LATER, "operator_fee_micro_per_kwh": fee} for fee in range(5)]
    answers = await asyncio.gather(*(operator.post(RULES, json=body) for body in bodies))
    assert sorted(each.status_code for each in answers) == [201, 409, 409, 409, 409]
    body = {**MID, "begin": rfc3339(NOW + 2 * DAY), "final_days": 9}
    same = [await operator.post(RULES, json=body, headers={"Idempotency-Key": "june"}) for _ in range(2)]
    assert [each.status_code for each in same] == [201, 201]
    assert same[0].json() == same[1].json()
    assert await events(served) == begun + 2
