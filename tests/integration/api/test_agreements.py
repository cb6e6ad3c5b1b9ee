"""Agreements over the API: proposed by one, accepted by the other, ended by either, seen by nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api

OFFER = {"agreement": "a-1", "side": "sell", "partner": "b-2", "price": "3", "until": "2030-01-01T00:00:00Z"}
FAR = "2029-01-01T00:00:00Z"


def path(building: str, rest: str = "") -> str:
    return f"{V1}/buildings/{building}/agreements{rest}"


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus with a market."""
    async with api(database, nats_server, tmp_path) as found:
        yield found


@pytest.fixture
async def seller(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("building", "b-1") as client:
        yield client


@pytest.fixture
async def buyer(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("building", "b-2") as client:
        yield client


@pytest.fixture
async def stranger(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("building", "b-3") as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_agreement_goes_from_proposal_to_its_end(
    seller: httpx.AsyncClient, buyer: httpx.AsyncClient
) -> None:
    proposed = await seller.post(path("b-1"), json=OFFER)
    assert proposed.status_code == 201, proposed.text
    shown = proposed.json()["agreement"]
    assert (shown["state"], shown["proposer"], shown["partner"]) == ("proposed", "b-1", "b-2")
    assert shown["price"] == {"micro": 3_000_000, "decimal": "3.000000", "currency": "THB"}
    assert (await seller.get(proposed.headers["location"])).json() == shown
    assert (await buyer.get(path("b-2", "/a-1"), params={"proposer": "b-1"})).json() == shown

    accepted = await buyer.post(path("b-2", "/a-1/accept"), json={"proposer": "b-1"})
    assert accepted.status_code == 200, accepted.text
    assert (accepted.json()["agreement"]["state"], accepted.json()["receipt"]["stream"]) == (
        "will hold", "building/b-2",
    )  # fmt: skip
    again = await buyer.post(path("b-2", "/a-1/accept"), json={"proposer": "b-1"})
    problem(again, 409, "contradiction")

    ended = await seller.post(path("b-1", "/a-1/end"), json={"since": FAR})
    assert (ended.json()["agreement"]["until"], ended.json()["receipt"]["counts_from"]) == (FAR, FAR)
    by_the_other = await buyer.post(path("b-2", "/a-1/end"), json={"proposer": "b-1"})
    assert by_the_other.json()["agreement"]["state"] == "never held"
    problem(await buyer.post(path("b-2", "/a-1/end"), json={"proposer": "b-1"}), 404, "unknown-agreement")
    for client, building in ((seller, "b-1"), (buyer, "b-2")):
        (listed,) = (await client.get(path(building))).json()["items"]
        assert listed == by_the_other.json()["agreement"]


async def test_others_neither_see_an_agreement_nor_touch_it(
    seller: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await seller.post(path("b-1"), json=OFFER)
    assert (await stranger.get(path("b-3"))).json()["items"] == []
    unseen = await stranger.get(path("b-3", "/a-1"), params={"proposer": "b-1"})
    problem(unseen, 404, "unknown-agreement")
    for what in ("accept", "end"):
        both = [
            problem(
                await stranger.post(path("b-3", f"/{name}/{what}"), json={"proposer": "b-1"}),
                404,
                "unknown-agreement",
            )
            for name in ("a-1", "a-2")
        ]
        assert {each.pop("where") for each in both} == {"a-1", "a-2"}
        for each in both:
            del each["instance"]
        assert both[0] == both[1], "others' agreements are as unknown as those that are not there"


async def test_a_proposal_without_a_name_gets_one_and_comes_once_for_a_key(
    seller: httpx.AsyncClient, buyer: httpx.AsyncClient
) -> None:
    unnamed = {key: value for key, value in OFFER.items() if key != "agreement"}
    first, again = [
        await seller.post(path("b-1"), json=unnamed, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    await seller.post(path("b-1"), json=OFFER)
    names = [each["agreement"] for each in (await buyer.get(path("b-2"))).json()["items"]]
    assert sorted(names) == sorted(["a-1", first.json()["agreement"]["agreement"]])
    page = (await buyer.get(path("b-2"), params={"limit": 1, "state": "proposed"})).json()
    rest = (await buyer.get(path("b-2"), params={"limit": 1, "after": page["next"]})).json()
    assert [*page["items"], *rest["items"]] == (await buyer.get(path("b-2"))).json()["items"]


async def test_what_does_not_fit_is_told(seller: httpx.AsyncClient, buyer: httpx.AsyncClient) -> None:
    await seller.post(path("b-1"), json=OFFER)
    problem(await seller.post(path("b-1"), json=OFFER), 409, "name-in-use")
    problem(await seller.post(path("b-1"), json={**OFFER, "partner": "b-9"}), 404, "unknown-building")
    problem(await seller.post(path("b-1"), json={**OFFER, "partner": "b-1"}), 409, "contradiction")
    late = {**OFFER, "agreement": "a-2", "begin": "2026-06-01T00:00:00Z"}
    assert "Z on" in problem(await seller.post(path("b-1"), json=late), 409, "gate-closed")["hint"]
    twice = {**OFFER, "price_micro_per_kwh": 1}
    assert problem(await seller.post(path("b-1"), json=twice), 422, "bad-cell")["where"] == "price"
    assert (await seller.post(path("b-1"), json={**OFFER, "price": "3,20"})).status_code == 400
    problem(await buyer.post(path("b-2", "/a-1/accept"), json={}), 400, "bad-request")
    problem(await buyer.post(path("b-1", "/a-1/end"), json={}), 403, "not-allowed")


async def test_nobody_fills_a_neighbours_list_with_proposals(
    served: Api, seller: httpx.AsyncClient, buyer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.ordering.AGREEMENTS_WITH_ONE_MAX", 2)
    offers = [{**OFFER, "agreement": f"a-{number}"} for number in range(4)]
    answers = [await seller.post(path("b-1"), json=offer) for offer in offers]
    assert [answer.status_code for answer in answers] == [201, 201, 409, 409]
    problem(answers[-1], 409, "too-many-agreements")
    async with served.client("operator") as operator:
        problem(await operator.post(path("b-1"), json=offers[2]), 409, "too-many-agreements")
    assert len((await buyer.get(path("b-2"))).json()["items"]) == 2
    assert (await buyer.post(path("b-2", "/a-0/end"), json={"proposer": "b-1"})).status_code == 200
    assert (await seller.post(path("b-1"), json=offers[2])).status_code == 201
