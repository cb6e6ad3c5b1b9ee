"""What does not fit in a request is told by its name on the wire, with what may be told instead."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.http.app import build_app
from api.http.metrics import Metrics
from api.http.openapi import handlers_of
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.api import V1, Api, api
from tests.support.store import migrated

OWN = f"{V1}/buildings/b-1"
FAR = "2030-01-01"


@pytest.fixture(scope="module")
async def served(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("parameters")
    await migrated(dsn)
    async with api(dsn, nats_server, tmp_path_factory.mktemp("api")) as found:
        yield found


async def asked(found: Api, method: str, path: str, **told: Any) -> tuple[int, dict[str, Any]]:
    async with found.client("operator") as client:
        answer = await client.request(method, path, **told)
        return answer.status_code, answer.json()


async def test_a_parameter_that_there_is_not_is_refused_and_those_that_there_are_are_named(
    served: Api,
) -> None:
    status, told = await asked(served, "GET", f"{OWN}/intervals?resolution=day")
    assert (status, told["code"], told["where"]) == (400, "unknown-parameter", "resolution")
    assert told["hint"] == "known are `after`, `begin`, `limit`, `until`"
    status, told = await asked(served, "GET", "/livez?")
    assert status == 200
    status, told = await asked(served, "GET", "/livez?nocache")
    assert (status, told["hint"]) == (400, "this operation has no parameters in its query")


async def test_a_parameter_that_is_told_twice_is_refused(served: Api) -> None:
    for twice in ("limit=1&limit=2", "limit=1&l%69mit=1", "limit=&limit="):
        status, told = await asked(served, "GET", f"{OWN}/intervals?{twice}")
        assert (status, told["code"], told["where"]) == (400, "repeated-parameter", "limit"), twice


async def test_every_handler_refuses_what_it_does_not_have(served: Api) -> None:
    filled = {"community": "campus", "building": "b-1", "number": "1", "position": "0", "month": "2026-06"}
    tried = 0
    for path, method, _ in handlers_of(build_app(served.backend, Metrics("campus"))):
        url = path
        for name, value in filled.items():
            url = url.replace(f"{{{name}}}", value)
        url = url.replace("{", "").replace("}", "")
        status, told = await asked(served, method, f"{url}?no-such=1")
        assert (status, told["code"]) == (400, "unknown-parameter"), url
        tried += 1
    assert tried > 80


async def test_a_stranger_is_told_nothing_of_parameters(served: Api) -> None:
    async with served.client() as client:
        answer = await client.get(f"{OWN}/intervals?no-such=1")
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


async def test_a_parameter_is_told_by_its_name_on_the_wire_with_what_may_be_told(served: Api) -> None:
    for resource, states in (("orders", "`never held`"), ("agreements", "`proposed`")):
        status, told = await asked(served, "GET", f"{OWN}/{resource}?state=foo")
        assert (status, told["where"]) == (400, "state"), told
        assert states in told["hint"], told
    status, told = await asked(served, "GET", f"{OWN}/orders?limit=0")
    assert (status, told["where"], told["hint"]) == (400, "limit", "Rows on a page at most.")


@pytest.mark.parametrize(
    ("body", "where", "words"),
    [
        ({"side": "sell", "limit": 3.20, "until": FAR}, "limit", 'a decimal number in quotes: "3.20"'),
        ({"side": "give", "limit": "3.20", "until": FAR}, "side", "One of `buy`, `sell`."),
        ({"side": "sell", "limit": "3.20"}, "until", "Before when it is to hold"),
        ({"side": "sell", "limit": "3.20", "until": FAR, "colour": 1}, "colour", "known are `begin`"),
        ([1], None, ""),
    ],
)
async def test_a_field_that_does_not_fit_is_told_with_what_it_is(
    served: Api, body: Any, where: str | None, words: str
) -> None:
    status, told = await asked(served, "POST", f"{OWN}/orders", json=body)
    assert (status, told.get("where")) == (400, where), told
    assert words in told.get("hint", ""), told


async def test_a_field_inside_of_another_is_told_with_what_it_is(served: Api) -> None:
    body = {"mechanism": "mid_market_rate", "tariff": "flat"}
    expected = ("wheeling[0].to", "The feeder that the energy goes to.")
    for wheeling in ({"from": "f-1", "to": 7}, {"from": "f-1"}):
        status, told = await asked(served, "POST", f"{V1}/market/rules", json=body | {"wheeling": [wheeling]})
        assert (status, told["where"], told["hint"]) == (400, *expected), told


async def test_what_to_do_is_told_for_who_has_no_command_line(served: Api) -> None:
    june = {"begin": "2025-06-01", "until": "2025-06-02"}
    for path, body, code in (
        ("/what-if", {**june, "mechanisms": ["pay_as_bid"]}, "nothing-to-compare"),
        ("/invoices/campus-2026-000099/credit", {"reason": "a wrong name"}, "unknown-document"),
    ):
        _, told = await asked(served, "POST", f"{V1}{path}", json=body)
        assert told["code"] == code, told
        assert "energy-ledger" not in told["hint"], told
        assert "--" not in told["hint"] + told.get("where", ""), told
