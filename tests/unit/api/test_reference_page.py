"""The page of the API's description: somebody can work from it alone, in a browser that runs no script."""

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from litestar import Router

from api.http.app import OF_A_COMMUNITY, ROUTES
from api.http.openapi import Description
from api.http.reference_page import STYLE, reference
from api.http.reference_schema import Schemas
from api.http.routes.reference import known_codes

EMPTY = {"meta", "link", "br"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    handlers = [*ROUTES, Router("/v1/communities/{community:str}", route_handlers=OF_A_COMMUNITY)]
    return Description(handlers).document


@pytest.fixture(scope="module")
def html(document: dict[str, Any]) -> str:
    return reference(document, known_codes())


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def section(html: str, anchor: str) -> str:
    """The words of a section, its markup gone."""
    found = re.search(rf'<section id="{anchor}">(.*?)</section>', html, re.DOTALL)
    assert found is not None, anchor
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1])).split())


class Balanced(HTMLParser):
    """Reads a page; what is opened has to be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.attributes |= told.keys()
        if "id" in told:
            self.ids.append(str(told["id"]))
        if str(told.get("href", "")).startswith("#"):
            self.links.add(str(told["href"]).removeprefix("#"))
        if tag not in EMPTY:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag, self.getpos()


def test_it_is_well_formed_every_link_leads_somewhere_and_nothing_in_it_runs(html: str) -> None:
    read = Balanced()
    read.feed(html)
    assert read.opened == []
    assert len(read.ids) == len(set(read.ids))
    assert read.links <= set(read.ids)
    assert "<script" not in html
    assert "<style" not in html
    assert not {name for name in read.attributes if name == "style" or name.startswith("on")}
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_every_operation_is_in_the_contents_and_has_its_anchor(document: dict[str, Any], html: str) -> None:
    contents = html[html.index('<nav id="contents">') : html.index("</nav>")]
    for operation in operations(document):
        assert f'href="#{operation["operationId"]}"' in contents
        assert operation["summary"] in section(html, operation["operationId"])


def test_an_order_can_be_placed_from_it(html: str) -> None:
    told = section(html, "orders_place")
    for words in (
        "For the operator and a building for itself.",
        "building required path text The building's name in the book. Such as school .",
        "side required buy or sell",
        'limit text or null The limit a kilowatt-hour, a decimal number in quotes: "3.20".',
        "at least 0, at most 100,000,000,000.",
        "clock_from text or null The local time of day, as HH:MM",
        "http://127.0.0.1:8480/v1/communities/campus/buildings/school/orders",
        '--json \'{"limit":"3.20","order":"night","side":"sell","until":"2030-01-01"}\'',
        "201",
        "receipt.position whole number The place in the log",
        '"counts_from": "2026-06-01T00:00:00Z"',
        "Location",
        "409 Conflict",
    ):
        assert words in told, words


def test_every_field_of_every_body_is_told_with_its_default_and_what_is_inside_of_it(
    document: dict[str, Any], html: str
) -> None:
    rules = section(html, "market_publish_rules")
    assert "wheeling[].loss_ppm whole number How much of the energy is lost on the way" in rules
    assert "gate_minutes whole number" in rules
    assert "By default 60 ." in rules
    assert "at most 10,080." in rules
    for operation in operations(document):
        told = section(html, operation["operationId"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            for field in document["components"]["schemas"][name]["properties"]:
                assert f" {field} " in told, f"{name}.{field}"


def test_what_may_be_one_of_several_kinds_is_linked_and_told_once(html: str) -> None:
    assert 'href="#schema-MeterRead"' in html
    assert "power_w whole number or null" in section(html, "schema-MeterRead")
    assert "decimal text" in section(html, "schema-Amount")


def test_every_code_of_a_problem_is_listed(html: str) -> None:
    for code in known_codes():
        assert f'href="/problems/{code}"' in html


def test_a_schema_that_holds_itself_is_told_once() -> None:
    tree = {"type": "object", "properties": {"leaf": {"type": "string"}, "tree": {"$ref": "#/x/Tree"}}}
    told = Schemas({"Tree": tree}).table({"$ref": "#/x/Tree"})
    assert told.count("<tr>") < 6
