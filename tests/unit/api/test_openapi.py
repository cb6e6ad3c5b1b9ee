"""What the API says of itself is told in full: fields, examples, and who may ask."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from litestar import Litestar, Router

from api.http.app import OF_A_COMMUNITY, ROUTES
from api.http.guard import OWN, PUBLIC, WHO, who_may
from api.http.openapi import Description, handlers_of
from api.http.openapi_fields import described, names, tell_fields
from ledger.access import ROLES

HANDLERS = [*ROUTES, Router("/v1/communities/{community:str}", route_handlers=OF_A_COMMUNITY)]
APP = Litestar(HANDLERS, openapi_config=None)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Description(HANDLERS).document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def fields_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            yield name, field, told


def test_every_field_of_every_schema_is_described(document: dict[str, Any]) -> None:
    found = list(fields_of(document))
    assert len(found) > 600
    assert [f"{name}.{field}" for name, field, told in found if not told.get("description")] == []


def test_nothing_is_described_that_there_is_not(document: dict[str, Any]) -> None:
    found = {(name, field) for name, field, _ in fields_of(document)}
    assert names() - found - {("", field) for _, field in found} == set()


def test_units_and_signs_are_told_where_they_are_a_riddle(document: dict[str, Any]) -> None:
    for name, field, told in fields_of(document):
        units = {"_wh": "watt-hours", "_milliwh": "milliwatt-hours", "_w": "watts", "_ppm": "parts a million"}
        for ending, unit in units.items():
            if field.endswith(ending):
                assert unit in told["description"], f"{name}.{field}"
    assert "above zero it is taken" in described("PowerShape", "power_w")
    assert "netting" in described("JournalShape", "kind")


def test_a_schema_and_then_its_struct_count_before_what_is_told_everywhere() -> None:
    own, plain = {"description": "said by the struct"}, {"type": "integer"}
    schemas = {
        "PowerShape": {"properties": {"kind": dict(own), "power_w": dict(own), "stale": dict(plain)}},
    }
    tell_fields(schemas)
    told = {field: each["description"] for field, each in schemas["PowerShape"]["properties"].items()}
    assert told["kind"] == described("PowerShape", "kind") != own["description"]
    assert told["power_w"] == own["description"]
    assert told["stale"] == described("", "stale")


def test_every_operation_tells_who_may_ask_as_the_guard_decides(document: dict[str, Any]) -> None:
    may = {(path, method): handler.opt["may"] for path, method, handler in handlers_of(APP)}
    for path, method, operation in operations(document):
        wanted = may[path, method]
        assert operation["x-may"] == sorted(wanted), path
        assert operation["description"].endswith(f"\n\n{who_may(wanted)}"), path
    assert WHO.keys() >= set(ROLES)


def test_who_may_ask_is_told_in_words() -> None:
    assert who_may(PUBLIC) == "For everybody, without a key."
    assert who_may(OWN | {"operator", "billing"}) == "For the operator, billing and a building for itself."


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(each)


def test_no_example_is_a_placeholder(document: dict[str, Any]) -> None:
    found = [text for text in texts(document) if text and set(text) == {"x"}]
    assert found == []


def test_every_example_of_a_body_is_one_that_its_handler_can_read(document: dict[str, Any]) -> None:
    read = set()
    for path, method, handler in handlers_of(APP):
        data = handler.parsed_fn_signature.parameters.get("data")
        if data is not None:
            told = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
            assert msgspec.convert(told["example"], data.annotation)
            read.add(path)
    assert len(read) > 12
