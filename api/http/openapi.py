"""The API as an OpenAPI document, completed in one place.

The library tells of every handler its parameters, body and answers. What is the same everywhere is added
here: the problems that an operation may answer with, whether it needs a key, names that read well, what
each field is and an example of it, by the name that it has in all of the API. What nobody could know from
outside, the handler says in its decorator:

    has_etag=True       its answer has an ETag, and is 304 for who has it
    printed=PDF         the media type in which its answer comes as well
    problems={403}      statuses of problems that others like it do not answer with

Who may ask is what the guard decides by, `may=`: it stands in each description in words, and as `x-may`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Server
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from api.http.cookies import SECURE_NAME
from api.http.guard import LOG, PUBLIC, who_may
from api.http.openapi_examples import TOLD, example
from api.http.openapi_fields import tell_fields
from api.http.openapi_headers import tell_headers
from api.http.openapi_signed import tell_signed
from api.http.openapi_webhooks import told_webhooks
from api.http.problems import MEDIA_TYPE, Problem, problem
from api.http.repeating import KEY_LENGTH_MAX
from api.http.sessions import SAFE

EVENT_STREAM = "text/event-stream"
MEDIA_TYPE_DOCUMENT = "application/vnd.oai.openapi+json"

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("bad-request", "a parameter or the body cannot be read"),
    401: ("not-authenticated", "this key opens nothing"),
    403: ("not-allowed", "the role auditor may not do this"),
    404: ("not-found", "there is no such community here"),
    409: ("contradiction", "this does not fit what the book says already"),
    413: ("too-large", "Request Entity Too Large"),
    415: ("other-media-type", "an envelope is sent as application/json"),
    422: ("bad-input", "this value does not fit"),
    429: ("too-many-requests", "this key has sent too many requests"),
    500: ("internal-error", "the ledger failed to answer"),
    503: ("store-unavailable", "Postgres does not answer: TimeoutError"),
}
"""Every status that a problem may have, with an example of its code and of its words."""

CONFIG = OpenAPIConfig(
    title="Energy ledger",
    version="1",
    description="A book of energy for buildings that trade solar surplus. Errors are problem details"
    " (RFC 9457), lists come in pages, instants are RFC 3339 in UTC, money is told in whole micro-units"
    " and as a decimal number. A POST with an Idempotency-Key may be sent again: it is done once.",
    servers=[Server(url="/")],
    components=Components(
        security_schemes={
            "key": SecurityScheme(
                type="http",
                scheme="bearer",
                description="A key PREFIX.SECRET from the operator: `energy-ledger key create`.",
            ),
            "session": SecurityScheme(
                type="apiKey",
                security_scheme_in="cookie",
                name=SECURE_NAME,
                description="A person's session, for browsers: `POST session` begins it.",
            ),
            "csrf": SecurityScheme(
                type="apiKey",
                security_scheme_in="header",
                name="X-CSRF-Token",
                description="What `GET session` tells as `csrf_token`; with it come all requests but GET.",
            ),
        }
    ),
    use_handler_docstrings=True,
)


class Description:
    """What an application of these handlers says of itself; made when it is asked for first."""

    def __init__(self, handlers: Iterable[ControllerRouterHandler]) -> None:
        self._handlers = list(handlers)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document, as an object."""
        return _completed(Litestar(self._handlers, openapi_config=CONFIG))

    @cached_property
    def body(self) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.document)


def handlers_of(app: Litestar) -> Iterator[tuple[str, str, Any]]:
    """Every (path, method, handler), but for the library's own answers to OPTIONS."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS"}:
                    yield route.path_format or "/", str(method), handler


def _completed(app: Litestar) -> dict[str, Any]:
    text = msgspec.json.encode(app.openapi_schema.to_schema()).decode()
    text = re.sub(r"Page_[\w.]*?\.(\w+?)(?:Shape)?_(?=[\"'])", r"\1Page", text)  # a page of what
    document: dict[str, Any] = msgspec.json.decode(text)
    components = document["components"]
    kinds = [Problem, *_bodies(app)]  # the library's schemas of bodies forget that nothing else may be told
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    components["schemas"] |= schemas
    components["responses"] = {f"Problem{status}": _problem(status) for status in PROBLEMS}
    for path, method, handler in handlers_of(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            _complete(operation, path, method, handler, components["schemas"])
    tell_signed(document)
    tell_headers(document)
    document["webhooks"] = told_webhooks(components["schemas"])
    tell_fields(components["schemas"])
    return document


def _bodies(app: Litestar) -> Iterator[Any]:
    """What is sent, of whichever handler."""
    for _, _, handler in handlers_of(app):
        if "data" in handler.parsed_fn_signature.parameters:
            yield handler.parsed_fn_signature.parameters["data"].annotation


def _complete(
    operation: dict[str, Any], path: str, method: str, handler: Any, schemas: Mapping[str, Any]
) -> None:
    """One operation."""
    may: AbstractSet[str] = handler.opt.get("may", frozenset())
    tag = operation.get("tags", ["other"])[0].lower().replace(" ", "_")
    operation["operationId"] = f"{tag}_{handler.fn.__name__}"
    operation["security"] = _security(may, method)
    operation["x-may"] = sorted(may)
    told = operation.get("description", "")
    operation["description"] = f"{told}\n\n{who_may(may)}".strip()
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _describe(parameter)
    answers = operation["responses"]
    has_input = bool(parameters) or "requestBody" in operation
    problems = {*_problems(path, method, may, has_input=has_input), *handler.opt.get("problems", ())}
    for status in sorted(problems):
        if status == HTTPStatus.BAD_REQUEST or str(status) not in answers:
            answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        else:  # an answer of its own, or a problem
            answers[str(status)].setdefault("content", {}).update(_problem(status)["content"])
    if printed := handler.opt.get("printed"):
        answers["200"]["content"][printed] = {"schema": {"type": "string", "contentMediaType": printed}}
    if str(HTTPStatus.NO_CONTENT.value) in answers:
        answers["204"].pop("content", None)
    if handler.opt.get("has_etag"):
        answers.setdefault("304", {"description": "Who asks has it already: If-None-Match named its ETag."})
    if method == "POST" and not may & PUBLIC:  # without a key nobody's answers are kept
        parameters.append(_idempotency_key())
    for body in (operation.get("requestBody", {}), *answers.values()):
        for media_type, content in body.get("content", {}).items():
            if media_type.endswith("json") and content.get("schema") == {"type": "string"}:
                content["schema"] = {"type": "object"}  # JSON that was signed, passed on as it is
            is_shown = content.keys() & {"example", "examples"}
            if media_type.endswith("json") and "schema" in content and not is_shown:
                content["example"] = example(content["schema"], schemas)


def _security(may: AbstractSet[str], method: str) -> list[dict[str, list[str]]]:
    """The ways to be let in, each by all that it names."""
    if may & PUBLIC:
        return []
    session: dict[str, list[str]] = {"session": []} if method in SAFE else {"session": [], "csrf": []}
    return [{"key": []}, session, *([{}] if may & LOG else [])]


def _problems(path: str, method: str, may: AbstractSet[str], *, has_input: bool) -> Iterator[int]:
    """The statuses of the problems that an operation may answer with."""
    yield from (400, 401, 429, 500, 503)  # whoever shows a key may show a wrong one
    if (
        not may & PUBLIC or method not in SAFE
    ):  # also what is public is changed by a page of this server alone
        yield 403
    if "{" in path:
        yield 404
    if has_input:
        yield 422
    if method != "GET":
        yield from (409, 413)


def _problem(status: int) -> dict[str, Any]:
    code, detail = PROBLEMS[status]
    shown = problem(status, code, detail, instance="3f9c0e8ad1b6527e")
    return {
        "description": HTTPStatus(status).phrase,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"}, "example": msgspec.to_builtins(shown),
            }
        },
    }  # fmt: skip


def _describe(parameter: dict[str, Any]) -> None:
    name, schema = parameter["name"], parameter.get("schema", {})
    if name in TOLD:
        parameter.setdefault("description", TOLD[name][0])
    if "example" not in parameter and "examples" not in parameter and "default" not in schema:
        parameter["example"] = example(schema, {}, name)


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key", "in": "header", "required": False, "example": "c8a1f7c0-5e0e-4a53",
        "description": "A new one for each request. Sent again with the same one, the same request is done"
        " once and answered as before; for a day.",
        "schema": {"type": "string", "maxLength": KEY_LENGTH_MAX},
    }  # fmt: skip
