"""What a cost is made of is told with it: a statement, savings and the live stream tie, loss and all."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ledger.embedded import EmbeddedNats
from tests.support.api import V1, api
from tests.support.billing import four_quarters_of_june
from tests.support.live import Message, sse


def made_of(told: dict[str, Any]) -> int:
    """What the parts of a cost that are told sum to."""
    pays = sum(told[name]["micro"] for name in ("grid_cost", "paid", "fees", "loss"))
    return int(pays - told["earned"]["micro"] - told["grid_income"]["micro"])


async def test_a_cost_is_the_sum_of_what_is_told_with_it_losses_too_wherever_it_is_told(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as served:
        await four_quarters_of_june(served.site)
        await served.site.projector.catch_up()
        total = 0
        async with served.client("operator") as operator:
            for building in ("b-1", "b-2", "b-3"):
                path = f"{V1}/buildings/{building}"
                told = (await operator.get(f"{path}/statement/2026-06")).json()
                assert all(made_of(each) == each["cost"]["micro"] for each in [*told["days"], told["total"]])
                saved = (await operator.get(f"{path}/savings?month=2026-06")).json()
                assert saved["loss"] == told["total"]["loss"]
                assert made_of(saved) == told["total"]["cost"]["micro"]
                assert saved["cost"]["micro"] + saved["loss"]["micro"] == told["total"]["cost"]["micro"]
                async with sse(operator, f"{path}/live", after="0.0") as messages:
                    heard = [each async for each in until_settled(messages, 4)]
                assert all(made_of(each) == each["cost"]["micro"] for each in heard)
                assert sum(each["cost"]["micro"] for each in heard) == told["total"]["cost"]["micro"]
                total += told["total"]["loss"]["micro"]
        assert total == 4 * 20 * 4_000, "20 Wh a quarter at 4 a kWh"


async def until_settled(messages: AsyncIterator[Message], count: int) -> AsyncIterator[Message]:
    """The next so many messages of settled intervals."""
    async for each in messages:
        if each["event"] == "settled":
            yield each
            count -= 1
        if not count:
            return
