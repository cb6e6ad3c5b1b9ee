"""What the API says of itself is complete, and holds for requests that follow it and for others."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy, booleans
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig

from api.http.problems import MEDIA_TYPE
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.api import Api, api
from tests.support.store import migrated

EXAMPLES = 3
CHECKS = {
    "positive_data_acceptance": {  # 422: it can be read, and does not fit what the book says
        "expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "422", "429", "503"]
    }
}
"""All checks are held; this is what one of them is told of the API."""
ENDLESS = {"/v1/communities/{community}/buildings/{building}/live"}
FILLED = {
    "community": "campus", "building": "b-1", "meter": "m-0", "month": "2026-06", "number": "1",
    "device": "gw-1", "stream": "meter/m-0", "name": "registry", "kind": "meter", "subject": "m-0",
    "position": "0", "path": "0/000", "code": "fork",
}  # fmt: skip
"""What is there, by the names of parameters."""
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
async def served(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("schema")
    await migrated(dsn)
    limits = {"requests_a_minute": 1_000_000, "requests_a_minute_without_key": 1_000_000}
    async with api(dsn, nats_server, tmp_path_factory.mktemp("api"), **limits) as found:
        await found.site.settle()
        yield found


async def document(found: Api) -> dict[str, Any]:
    async with found.client() as client:
        answer = await client.get("/v1/openapi.json")
        assert answer.headers["Content-Type"] == "application/vnd.oai.openapi+json"
        told: dict[str, Any] = answer.json()
        return told


@pytest.mark.parametrize(
    ("role", "examples"),
    [
        ("operator", EXAMPLES),
        (None, 1),
        pytest.param("operator", 200, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)]),
        pytest.param("auditor", 50, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)]),
    ],
)
async def test_what_is_answered_is_what_was_described(served: Api, role: Any, examples: int) -> None:
    headers = {"Authorization": f"Bearer {await served.token(role)}"} if role else {}
    described = await document(served)
    failures = await asyncio.to_thread(tried, described, served.address, headers, examples)
    assert not failures, "\n\n".join(failures)


def tried(described: dict[str, Any], address: str, headers: Mapping[str, str], examples: int) -> list[str]:
    """What does not hold, operation by operation, of everything that can be checked."""
    failures = []
    config = SchemathesisConfig.from_dict({"checks": CHECKS})
    for found in schemathesis.openapi.from_dict(described, config=config).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # an operation that cannot be read fails here
        for mode in GenerationMode:
            try:
                tried_once(operation.as_strategy(generation_mode=mode), address, headers, examples)
            except BaseExceptionGroup as group:
                failures += [f"{operation.label}: {error}" for error in group.exceptions]
            except Unsatisfiable:
                continue  # nothing of it could be wrong
            except Exception as error:
                failures.append(f"{operation.label}: {error!r}")
    return failures


def tried_once(
    cases: SearchStrategy[Case[Any]], address: str, headers: Mapping[str, str], examples: int
) -> None:
    """Some cases of one operation; of those that fit, every other one is about what is there."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases, booleans())
    def holds(case: Case[Any], is_there: bool) -> None:
        fits = case.meta is not None and case.meta.generation.mode.is_positive
        if is_there and fits and case.operation.path not in ENDLESS:
            case.path_parameters |= {
                name: FILLED[name] for name in case.path_parameters.keys() & FILLED.keys()
            }
        case.call_and_validate(base_url=address, headers=dict(headers), timeout=60)

    holds()


async def test_every_operation_tells_what_people_need(served: Api) -> None:
    described = await document(served)
    names, silent = [], []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            names.append(operation["operationId"])
            answers = operation["responses"]
            for what, is_told in {
                "summary": operation.get("summary"),
                "description": operation.get("description"),
                "tag": operation.get("tags"),
                "security": "security" in operation,
                "401": "401" in answers, "429": "429" in answers,
                "500": "500" in answers, "503": "503" in answers,
                "403": "403" in answers or operation["security"] == [],
                "404": "404" in answers or "{" not in path,
                "409": "409" in answers or method == "get",
                "an example of each parameter": all(
                    {"example", "examples"} & each.keys() or "default" in each["schema"]
                    for each in operation.get("parameters", ())
                ),
                "a description of each parameter": all(
                    each.get("description") for each in operation.get("parameters", ())
                ),
                "an example of each answer in JSON": all(
                    {"example", "examples"} & content.keys()
                    for answer in answers.values()
                    for kind, content in answer.get("content", {}).items()
                    if kind == "application/json" and "schema" in content
                ),
            }.items():  # fmt: skip
                if not is_told:
                    silent.append(f"{method} {path}: {what}")
    assert silent == []
    assert len(names) == len(set(names))
    assert all(name.replace("_", "").isalnum() for name in names), names


async def test_every_problem_is_told_once_and_shown(served: Api) -> None:
    described = await document(served)
    told = described["components"]["responses"]
    known = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)
    assert {f"Problem{status}" for status in known} == set(told)
    for name, answer in told.items():
        shown = answer["content"][MEDIA_TYPE]["example"]
        assert shown["status"] == int(name.removeprefix("Problem"))
        async with served.client() as client:
            page = await client.get(shown["type"])
            assert page.status_code == 200, shown["type"]
            assert str(shown["status"]) in page.text, shown["type"]


async def test_who_has_an_answer_is_not_sent_it_again_where_that_is_told_and_nowhere_else(
    served: Api,
) -> None:
    described, tried = await document(served), 0
    async with served.client("operator") as client:
        for path, methods in described["paths"].items():
            url = path
            for name, value in FILLED.items():
                url = url.replace(f"{{{name}}}", value)
            told = methods.get("get", {}).get("responses", {})
            if "{" in url or "text/event-stream" in told.get("200", {}).get("content", {}) or not told:
                continue
            plain = await client.get(url)
            again = await client.get(url, headers={"If-None-Match": "*"})
            if plain.status_code == 200:
                tried += 1
                assert again.status_code == (304 if "304" in told else 200), url
                assert ("etag" in plain.headers) == ("304" in told), url
    assert tried > 25


async def test_a_request_is_done_once_where_that_is_told(served: Api) -> None:
    told = {
        path.removeprefix("/v1/communities/{community}")
        for path, methods in (await document(served))["paths"].items()
        for parameter in methods.get("post", {}).get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert {"/what-if", "/buildings/{building}/orders", "/months/{month}/issue"} <= told
    assert not {"/envelopes", "/devices/enrol"} & told
