"""The API's own description as a page to read, and a page for each code of a problem."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from http import HTTPStatus
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath

from api.http.caching import SECONDS, answered
from api.http.guard import PUBLIC
from api.http.openapi import MEDIA_TYPE_DOCUMENT, Description
from api.http.openapi_webhooks import HOW
from api.http.problems import LIBRARY, NotThere, status_of
from ledger.errors import LedgerError

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2733 }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h3 { margin: 1.6rem 0 .2rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #cfd8e0 }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f2f5f8; border-radius: 4px }
code { padding: .1rem .3rem } pre { padding: .6rem; overflow-x: auto }
.method { color: #fff; background: #2c6e49; padding: .1rem .5rem; border-radius: 4px; font-size: .8rem }
table { border-collapse: collapse; margin: .4rem 0 }
td { padding: .15rem .8rem .15rem 0; vertical-align: top }
"""
CSS = "text/css"

Req = Request[Any, Any, State]


@get("/docs", may=PUBLIC, include_in_schema=False, media_type=MediaType.HTML)
async def page(state: State) -> str:
    """All operations, by subject."""
    description: Description = state.description
    return "".join(_page(description.document))


@get("/v1/openapi.json", may=PUBLIC, has_etag=True, include_in_schema=False)
async def document(request: Req, state: State) -> Response[bytes]:
    """The same for programs."""
    description: Description = state.description
    return answered(request, description.body, MEDIA_TYPE_DOCUMENT, SECONDS)


@get("/docs/style.css", may=PUBLIC, include_in_schema=False)
async def style() -> Response[str]:
    """How the page looks."""
    return Response(STYLE, media_type=CSS, headers={"Cache-Control": "public, max-age=3600"})


@get("/problems/{code:str}", may=PUBLIC, include_in_schema=False, media_type=MediaType.HTML)
async def problem_page(code: FromPath[str]) -> str:
    """What a code means."""
    found = known_codes().get(code)
    if found is None:
        raise NotThere("there is no such code", where=code[:80])
    status, text = found
    return "".join(
        _document(code, [f"<h1><code>{escape(code)}</code></h1><p>Status {status}</p><p>{escape(text)}</p>"])
    )


def known_codes() -> dict[str, tuple[int, str]]:
    """Every code, its status and what it means."""
    found = {
        code: (status, "Refused before any handler saw the request.") for status, code in LIBRARY.items()
    }
    found["internal-error"] = (500, "The ledger failed to answer; its log says why.")
    found["refused"] = (400, "Refused before any handler saw the request.")
    for kind in _kinds(LedgerError):
        sample = kind.__new__(kind)
        found[kind.code] = (status_of(sample), (kind.__doc__ or "").strip())
    return found


def _kinds(kind: type[LedgerError]) -> Iterator[type[LedgerError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _document(title: str, body: list[str]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css">'
    yield f"<title>{escape(title)}</title></head><body>"
    yield from body
    yield "</body></html>"


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["Other"])[0]
            by_tag.setdefault(tag, []).append("".join(_operation(path, method, operation)))
    parts = [
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        '<p>For programs: <a href="/v1/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    ]
    told = {tag["name"]: _paragraphs(tag["description"]) for tag in document["tags"]}
    parts += [
        f"<h2>{escape(tag)}</h2>{told.get(tag, '')}{''.join(operations)}"
        for tag, operations in sorted(by_tag.items())
    ]
    parts.append(f"<h2>What webhooks are told</h2><p>{_prose(HOW)}</p>")
    parts += [_told(topic, item["post"]) for topic, item in document["webhooks"].items()]
    yield from _document(info["title"], parts)


def _told(topic: str, operation: dict[str, Any]) -> str:
    """A message that is sent, with its body as an example."""
    body = escape(operation["x-signed-example"]["body"])
    return f"<h3><code>{topic}</code></h3><p>{escape(operation['summary'])}.</p><pre>{body}</pre>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<h3><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>'
    yield f"<p><b>{escape(operation.get('summary', ''))}.</b> {_prose(operation.get('description', ''))}</p>"
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td>"
        f"<td>{escape(each['in'])}{', needed' if each.get('required') else ''}</td>"
        f"<td>{_prose(each.get('description', ''))}</td></tr>"
        for each in operation.get("parameters", ())
    ]
    if rows:
        yield f"<table>{''.join(rows)}</table>"
    answers = ", ".join(
        f"{status} {HTTPStatus(int(status)).phrase}" for status in sorted(operation["responses"])
    )
    yield f"<p>{_let_in(operation['security'])}. Answers: {answers}.</p>"


def _let_in(ways: Sequence[Mapping[str, Any]]) -> str:
    """By which ways one is let in."""
    if not ways:
        return "Needs no key"
    return f"Needs a key or a session{', unless the operator made the log public' if {} in ways else ''}"


def _paragraphs(text: str) -> str:
    """A longer one."""
    return "".join(f"<p>{_prose(each)}</p>" for each in text.split("\n\n"))


def _prose(text: str) -> str:
    """A text for people: what stands between backticks is code, and between double asterisks strong."""
    told = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", told)
