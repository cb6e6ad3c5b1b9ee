"""Requests that are looked up in the API's description, and answers that are held against it.

Nothing is sent that the description does not allow, and what comes back must be told there: the status, the
media type, every header that is not HTTP's own, and the body.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = "urn:description"
OF_HTTP = {
    "connection", "content-encoding", "content-length", "content-type", "date", "keep-alive",
    "transfer-encoding",
}  # fmt: skip
"""Headers that no description has to tell (OpenAPI 3.1, section 4.8.17, and RFC 9110)."""


class NotDescribed(AssertionError):
    """The description does not allow a request, or does not tell an answer."""


@dataclass(frozen=True)
class Answer:
    """What came back, and is as it was described."""

    status: int
    media_type: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def told(self) -> Any:
        """The body, where that is JSON."""
        return json.loads(self.content)


class Refused(Exception):
    """A problem was answered."""

    def __init__(self, operation: str, answer: Answer) -> None:
        super().__init__(f"{operation}: {answer.status} {answer.content.decode()}")
        self.answer = answer


class Client:
    """Somebody who has an address, the description that is served there and perhaps a key."""

    def __init__(self, http: httpx.AsyncClient, document: Mapping[str, Any], key: str = "") -> None:
        self._http = http
        self._document = document
        self._key = key
        self._registry = Registry().with_resource(
            DOCUMENT, Resource.from_contents(dict(document), default_specification=DRAFT202012)
        )
        self._operations = {
            operation["operationId"]: (path, method)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    def keyed(self, key: str) -> "Client":
        """The same with another key."""
        return Client(self._http, self._document, key)

    async def call(self, operation: str, body: Any = None, **given: Any) -> Answer:
        """The answer to an operation; `body` are bytes that are sent as they are, or what is sent as JSON.

        Raises `Refused` for a problem, `NotDescribed`.
        """
        path, method = self._operations[operation]
        place = ("paths", path, method)
        told = self._at(*place)
        headers, params = {}, {}
        for number, parameter in enumerate(told["parameters"]):
            name = parameter["name"]
            if name not in given:
                _require(not parameter["required"], f"{operation} needs {name}")
                continue
            value = given.pop(name)
            self._check(value, f"{operation}: {name}", *place, "parameters", str(number), "schema")
            match parameter["in"]:
                case "path":
                    path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
                case "query":
                    params[name] = value
                case "header":
                    headers[name] = str(value)
        _require(not given, f"{operation} has no {', '.join(given)}")
        headers |= self._credentials(operation, told["security"])
        content = self._body(operation, body, place, told, headers)
        request = self._http.build_request(
            method.upper(), path, params=params, headers=headers, content=content
        )
        return self._held(operation, place, await self._http.send(request))

    async def pages(self, operation: str, **given: Any) -> list[Any]:
        """The rows of all pages of a list."""
        rows, after = [], ""
        while after is not None:
            page = (await self.call(operation, after=after, **given)).told
            rows += page["items"]
            after = page["next"]
        return rows

    # --- what is sent ------------------------------------------------------------------------

    def _credentials(self, operation: str, ways: list[dict[str, Any]]) -> dict[str, str]:
        """The header that shows the key, by one of the ways that an operation takes."""
        schemes = self._document["components"]["securitySchemes"]
        for way in ways if self._key else ():
            if [(schemes[name]["type"], schemes[name].get("scheme")) for name in way] == [("http", "bearer")]:
                return {"Authorization": f"Bearer {self._key}"}
        _require(not ways or {} in ways, f"{operation} needs a key")
        return {}

    def _body(
        self,
        operation: str,
        body: Any,
        place: tuple[str, ...],
        told: Mapping[str, Any],
        headers: dict[str, str],
    ) -> bytes | None:
        if "requestBody" not in told:
            _require(body is None, f"{operation} has no body")
            return None
        (media_type,) = told["requestBody"]["content"]
        if body is None:
            _require(not told["requestBody"].get("required"), f"{operation} needs a body")
            return None
        value = json.loads(body) if isinstance(body, bytes) else body
        self._check(value, f"body of {operation}", *place, "requestBody", "content", media_type, "schema")
        headers["Content-Type"] = media_type
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    # --- what comes back ---------------------------------------------------------------------

    def _held(self, operation: str, place: tuple[str, ...], came: httpx.Response) -> Answer:
        status = str(came.status_code)
        answers = self._at(*place, "responses")
        _require(status in answers, f"{operation} does not tell of {status}: {came.text[:500]}")
        place = self._referred(*place, "responses", status)
        told = self._at(*place)
        self._check_headers(operation, place, told.get("headers", {}), came)
        media_type = came.headers.get("content-type", "").removesuffix("; charset=utf-8")
        content = told.get("content", {})
        if came.content or content:
            _require(media_type in content, f"{operation}, {status}: {media_type!r} is not told")
            if media_type.endswith("json"):
                where = (*place, "content", media_type, "schema")
                self._check(came.json(), f"answer of {operation}", *where)
        answer = Answer(came.status_code, media_type, came.headers, came.content)
        if media_type == "application/problem+json":
            raise Refused(operation, answer)
        return answer

    def _check_headers(
        self, operation: str, place: tuple[str, ...], told: Mapping[str, Any], came: httpx.Response
    ) -> None:
        names = {name.lower(): name for name in told}
        unknown = came.headers.keys() - names.keys() - OF_HTTP
        _require(
            not unknown, f"{operation}, {came.status_code}: headers that are not told: {sorted(unknown)}"
        )
        for low, name in names.items():
            where = self._referred(*place, "headers", name)
            if low in came.headers:
                self._check(came.headers[low], f"{name} of {operation}", *where, "schema")
            else:
                _require(not self._at(*where).get("required"), f"{operation}: {name} is missing")

    # --- the description ---------------------------------------------------------------------

    def _at(self, *place: str) -> Any:
        found: Any = self._document
        for step in place:
            found = found[int(step)] if isinstance(found, list) else found[step]
        return found

    def _referred(self, *place: str) -> tuple[str, ...]:
        """Where something stands that may be told elsewhere."""
        found = self._at(*place)
        return tuple(found["$ref"].split("/")[1:]) if "$ref" in found else place

    def _check(self, value: Any, what: str, *place: str) -> None:
        wrong = list(self._wrong(value, *place))
        _require(not wrong, f"{what}: {'; '.join(wrong)}")

    def _wrong(self, value: Any, *place: str) -> Iterator[str]:
        pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1")) for step in place)
        schema = {"$ref": f"{DOCUMENT}#/{pointer}"}
        checker = Draft202012Validator(schema, registry=self._registry, format_checker=FormatChecker())
        for error in checker.iter_errors(value):
            yield f"{error.json_path} {error.message[:300]}"

    def examples(self) -> Iterator[tuple[str, list[str]]]:
        """Of each example in JSON what does not fit beside it."""
        for operation, (path, method) in self._operations.items():
            place = ("paths", path, method)
            told = self._at(*place)
            bodies = {"requestBody": told.get("requestBody", {})}
            bodies |= {f"responses/{status}": answer for status, answer in told["responses"].items()}
            for name, each in bodies.items():
                for media_type, content in each.get("content", {}).items():
                    if media_type.endswith("json") and "example" in content:
                        where = (*place, *name.split("/"), "content", media_type, "schema")
                        yield f"{operation} {name}", list(self._wrong(content["example"], *where))
            for number, parameter in enumerate(told["parameters"]):
                if "example" in parameter:
                    where = (*place, "parameters", str(number), "schema")
                    yield f"{operation} {parameter['name']}", list(self._wrong(parameter["example"], *where))


def _require(holds: object, what: str) -> None:
    if not holds:
        raise NotDescribed(what)
