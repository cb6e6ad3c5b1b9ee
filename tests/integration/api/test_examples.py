"""The examples of the API's description, sent to a campus as they are printed: each does what it says."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.embedded import EmbeddedNats
from ledger.events import MeterAdded, MeterAssigned
from tests.support.api import Api, api
from tests.support.billing import four_quarters_of_june
from tests.support.campus import MORNING
from tests.support.devices import tell

HERE = {"school": "b-1", "lab": "b-2"}
"""The buildings of the examples, by what they are called here."""


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await four_quarters_of_june(found.site)
        yield found


class Described:
    """An operation of the description, and how to send its example."""

    def __init__(self, found: Api, document: dict[str, Any]) -> None:
        self._found = found
        self._by_id = {
            operation["operationId"]: (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    def example(self, operation_id: str) -> dict[str, Any]:
        """Its body, with the names of the buildings that are here."""
        body = self._by_id[operation_id][2]["requestBody"]["content"]["application/json"]["example"]
        return {
            key: HERE.get(value, value) if isinstance(value, str) else value for key, value in body.items()
        }

    async def send(self, operation_id: str, building: str = "b-1", **changed: Any) -> tuple[int, Any]:
        """What it is answered with, asked as a role that it names."""
        method, path, operation = self._by_id[operation_id]
        named = {
            each["name"]: each["example"] for each in operation["parameters"] if each["in"] == "path"
        } | {"building": building, "community": "campus"}
        query = {name: value for name, value in changed.items() if name == "dry_run"}
        body = self.example(operation_id) | {key: changed[key] for key in changed.keys() - query.keys()}
        role = "building" if "building" in operation["x-may"] else "operator"
        async with self._found.client(role, building if role == "building" else None) as client:  # type: ignore[arg-type]  # both are roles
            answer = await client.request(method, path.format(**named), params=query, json=body)
            return answer.status_code, answer.json()


@pytest.fixture
async def described(served: Api) -> Described:
    async with served.client() as client:
        return Described(served, (await client.get("/v1/openapi.json")).json())


async def test_an_order_is_placed_and_cancelled(described: Described) -> None:
    status, told = await described.send("orders_place")
    assert (status, told["order"]["limit"]["decimal"]) == (201, "3.200000"), told
    status, told = await described.send("orders_cancel")
    assert (status, told["order"]["until"]) == (200, "2028-12-31T17:00:00Z"), told


async def test_an_agreement_is_proposed_accepted_and_ended(described: Described) -> None:
    status, told = await described.send("agreements_propose")
    assert (status, told["agreement"]["state"]) == (201, "proposed"), told
    status, told = await described.send("agreements_accept", "b-2")
    assert (status, told["agreement"]["proposer"]) == (200, "b-1"), told
    status, told = await described.send("agreements_end")
    assert status == 200, told


async def test_a_tariff_and_rules_are_published(described: Described) -> None:
    assert (await described.send("market_publish_tariff", dry_run=True))[0] == 200
    status, told = await described.send("market_publish_tariff")
    assert (status, told["published"]) == (201, True), told
    assert (await described.send("market_publish_rules", dry_run=True))[0] == 200
    status, told = await described.send("market_publish_rules")
    assert (status, told["published"]) == (201, True), told


async def test_a_what_if_is_settled(described: Described) -> None:
    status, told = await described.send("operators_what_if")
    assert status == 200, told
    assert [way["name"] for way in told["ways"]] == ["as published", "mid_market_rate"]


async def test_a_device_is_enrolled_by_its_token_and_sends(served: Api, described: Described) -> None:
    status, given = await described.send("devices_give_token")
    assert status == 201, given
    status, told = await described.send("devices_enrol", token=given["token"])
    assert (status, told["device"]) == (201, "wifi-1"), told
    status, told = await described.send("devices_envelopes")
    assert (status, told["answer"]["code"]) == (403, "not-permitted")
    assert "the operator assigns" in told["answer"]["refusal"]["hint"]
    since = MORNING - timedelta(days=1)
    await tell(
        served,
        MeterAdded(meter="m-school", role="sub", model="x", rated_w=9_000, since=since, building="b-1"),
        MeterAssigned(meter="m-school", device="wifi-1", since=since),
    )  # fmt: skip
    status, told = await described.send("devices_envelopes")
    assert (status, told["answer"]["code"]) == (200, "recorded"), told
