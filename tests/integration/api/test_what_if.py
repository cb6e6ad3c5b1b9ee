"""A what-if over the API: who would have paid what, settled beside the requests."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http import what_if as runner
from api.what_if_process import Task
from ledger.embedded import EmbeddedNats
from ledger.settings import Settings
from settlement.comparison_commands import Asked, as_json, compared_on_book
from tests.support.api import V1, Api, api
from tests.support.billing import four_quarters_of_june

FIRST, SECOND = date(2026, 6, 1), date(2026, 6, 2)
JUNE_1 = {"begin": "2026-06-01", "until": "2026-06-02"}
RULES = """
mechanism = "mid_market_rate"
interval_minutes = 15
currency = "THB"
"""
FLAT = "retail_micro_per_kwh = 6_000_000\nfeed_in_micro_per_kwh = 1_000_000\n"


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await four_quarters_of_june(found.site)
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


async def asked(operator: httpx.AsyncClient, **wanted: Any) -> tuple[int, dict[str, Any]]:
    answer = await operator.post(f"{V1}/what-if", json=JUNE_1 | wanted)
    return answer.status_code, answer.json()


async def test_it_is_what_the_command_says(served: Api, operator: httpx.AsyncClient) -> None:
    status, found = await asked(operator, mechanisms=["bill_sharing", "bill_sharing"], rules=RULES + FLAT)
    assert status == 200
    assert [way["name"] for way in found["ways"]] == ["as published", "bill_sharing", "rules"]
    told = Asked(FIRST, SECOND, (), ("bill_sharing",))
    expected: Any = as_json(await compared_on_book(served.backend.book, told))
    assert found["intervals"] == expected["intervals"] == 4
    for way in found["ways"][:2]:
        same = expected["rules"][way["name"]]
        assert way["trades"] == same["trades"]
        for each in [way["community"], *way["buildings"]]:
            row = same["buildings"].get(each["building"], same["community"])
            assert (each["cost"]["micro"], each["saving"]["micro"]) == (
                row["cost_micro"],
                row["saving_micro"],
            )
    assert found["ways"][2]["mechanisms"] == ["mid_market_rate"]


async def test_only_operators_may(served: Api) -> None:
    for role in ("auditor", "billing"):
        async with served.client(role) as client:  # type: ignore[arg-type]  # both are roles
            assert (await asked(client, mechanisms=["pay_as_bid"]))[0] == 403


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({}, 422, "nothing-to-try"),
        ({"mechanisms": ["luck"]}, 400, "bad-request"),
        ({"mechanisms": ["pay_as_bid"], "until": "2026-06-01"}, 422, "wrong-period"),
        ({"mechanisms": ["pay_as_bid"], "until": "2026-07-03"}, 422, "wrong-period"),
        ({"mechanisms": ["pay_as_bid"], "begin": "0001-01-01"}, 422, "wrong-period"),
        ({"mechanisms": ["pay_as_bid"], "begin": "2025-06-01"}, 422, "wrong-period"),
        ({"rules": RULES + FLAT, "begin": "2026-05-30", "until": "2026-05-31"}, 422, "nothing-to-compare"),
        ({"rules": "mechanism ="}, 422, "rules-invalid"),
        ({"rules": RULES + 'tariff = "/etc/secret.toml"'}, 422, "own-file"),
        ({"rules": RULES + FLAT + "[buildings.b-9]\nfeeder = 'f-1'"}, 404, "unknown-building"),
    ],
)  # fmt: skip
async def test_what_cannot_be_settled_is_told(
    operator: httpx.AsyncClient, wanted: dict[str, Any], status: int, code: str
) -> None:
    told = await asked(operator, **wanted)
    assert (told[0], told[1]["code"]) == (status, code)
    assert "what-if-" not in told[1].get("where", "")


async def test_what_can_be_judged_before_is_told_without_a_process(
    served: Api, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(task: Task) -> dict[str, Any]:
        raise AssertionError(task)

    monkeypatch.setattr(served.backend.what_if, "run", never)
    for wanted, code in (
        ({"rules": "mechanism ="}, "rules-invalid"),
        ({"rules": RULES + 'tariff = "own.toml"'}, "own-file"),
        ({"mechanisms": ["pay_as_bid"], "begin": "2025-06-01", "until": "2025-06-08"}, "nothing-to-compare"),
        ({"rules": RULES + FLAT, "begin": "2026-03-01", "until": "2026-03-31"}, "nothing-to-compare"),
    ):
        assert (await asked(operator, **wanted))[1]["code"] == code


async def test_one_is_settled_at_a_time_and_nobody_else_waits(
    served: Api, operator: httpx.AsyncClient
) -> None:
    first = asyncio.create_task(asked(operator, mechanisms=["pay_as_bid"]))
    await asyncio.sleep(0.2)
    second = await operator.post(f"{V1}/what-if", json=JUNE_1 | {"mechanisms": ["pay_as_bid"]})
    assert (second.status_code, second.json()["code"]) == (503, "what-if-busy")
    assert int(second.headers["retry-after"]) > 0
    assert (await operator.get(f"{V1}/market")).status_code == 200
    assert not first.done()
    assert (await first)[0] == 200


async def test_what_takes_too_long_is_ended_and_the_next_one_begins(
    operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SECONDS_MAX", 0.05)
    status, told = await asked(operator, mechanisms=["pay_as_bid"])
    assert (status, told["code"]) == (422, "takes-too-long")
    monkeypatch.undo()
    assert (await asked(operator, mechanisms=["pay_as_bid"]))[0] == 200


async def test_whoever_is_interrupted_leaves_no_process_behind(served: Api) -> None:
    book = served.backend.book
    task = Task(Settings(book.community, postgres=book.postgres), FIRST, SECOND, ["pay_as_bid"], "")
    before = children()
    running = asyncio.create_task(served.backend.what_if.run(task))
    await asyncio.sleep(0.2)
    assert len(children() - before) == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert children() <= before
    assert (await served.backend.what_if.run(task))["intervals"] == 4


def children() -> set[str]:
    """The processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for file in tasks for pid in file.read_text().split()}
