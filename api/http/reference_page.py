"""The API's description as a page from which somebody can work, made on the server and without any script."""

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from api.http.openapi_webhooks import HOW
from api.http.reference_schema import Schemas, paragraphs, prose, table
from ledger.canonical import encode

HOST = "http://127.0.0.1:8480"
PROBLEM = "application/problem+json"
JSON = "application/json"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2733; background: #fff }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; overflow-wrap: break-word }
h1 { font-size: 1.6rem } h2 { margin-top: 3rem; border-bottom: 1px solid #cfd8e0 }
h3 { margin: 0; font-size: 1rem } h4 { margin: 1rem 0 .2rem; font-size: .9rem }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f2f5f8; border-radius: 4px }
code { padding: .1rem .3rem } pre { padding: .6rem; overflow-x: auto; margin: .3rem 0 }
a { color: #1d5f8a; text-decoration: none } a:hover { text-decoration: underline }
section { border: 1px solid #cfd8e0; border-radius: 6px; padding: .8rem 1rem; margin: 1rem 0 }
section:target { border-color: #2c6e49; box-shadow: 0 0 0 2px #d5e8dc }
.method { color: #fff; background: #1d5f8a; padding: .1rem .5rem; border-radius: 4px; font-size: .8rem }
.post { background: #2c6e49 } .delete { background: #9b2c2c }
nav ul { list-style: none; padding: 0; margin: .2rem 0 1rem; columns: 22rem } nav li { margin: .15rem 0 }
nav li { break-inside: avoid; padding-left: .5rem } nav h3 { margin-top: .6rem }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: .3rem 0; width: 100% }
th { text-align: left; font-size: .8rem; color: #5a6b7a; border-bottom: 1px solid #cfd8e0 }
td { padding: .25rem .8rem .25rem 0; vertical-align: top; border-bottom: 1px solid #eef2f5 }
td:first-child { overflow-wrap: normal; white-space: nowrap } td { min-width: 7rem }
td b { font-size: .75rem; color: #9b2c2c; font-weight: 600 } i { color: #5a6b7a; font-size: .9rem }
details { margin: .3rem 0 } summary { cursor: pointer } .who { color: #2c6e49; font-weight: 600 }
@media (max-width: 40rem) { body { margin: 1rem auto } section { padding: .6rem } }
@media (max-width: 40rem) { thead { display: none } td:first-child { white-space: normal } }
@media (max-width: 40rem) { table, tbody, tr, td { display: block; border: 0; padding: .05rem 0 } }
@media (max-width: 40rem) { tr { border-bottom: 1px solid #cfd8e0; padding: .4rem 0 } }
"""

Codes = Mapping[str, tuple[int, str]]
"""Every code of a problem, with its status and what it means."""


def reference(document: Mapping[str, Any], codes: Codes) -> str:
    """The whole page."""
    return "".join(html_page(document["info"]["title"], _parts(document, codes)))


def html_page(title: str, body: Iterator[str]) -> Iterator[str]:
    """A page around its parts."""
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="stylesheet" href="/docs/style.css">'
    yield f"<title>{escape(title)}</title></head><body>"
    yield from body
    yield "</body></html>"


def _parts(document: Mapping[str, Any], codes: Codes) -> Iterator[str]:
    info, components = document["info"], document["components"]
    schemas = Schemas(components["schemas"])
    by_tag = _by_tag(document)
    yield f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p>For programs: <a href="/v1/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    yield from _contents(by_tag)
    yield '<h2 id="keys">How one is let in</h2>'
    ways = [(f"<code>{name}</code>", prose(each["description"]))
            for name, each in components["securitySchemes"].items()]  # fmt: skip
    yield table(("way", "what it is"), ways)
    told = {tag["name"]: paragraphs(tag["description"]) for tag in document["tags"]}
    for tag, operations in by_tag.items():
        yield f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>{told.get(tag, "")}'
        for method, path, operation in operations:
            yield from _operation(method, path, operation, components, schemas)
    yield f'<h2 id="told">What webhooks are told</h2><p>{prose(HOW)}</p>'
    for topic, item in document["webhooks"].items():
        yield from _told(topic, item["post"], schemas)
    yield '<h2 id="schemas">What is the same everywhere</h2>'
    for name, text, fields in schemas.linked():
        title = escape(name.removesuffix("Shape"))
        yield f'<section id="schema-{escape(name)}"><h3>{title}</h3><p>{text}</p>{fields}</section>'
    yield f'<h2 id="problems">Problems</h2>{schemas.table(components["schemas"]["Problem"])}'
    rows = [
        (f'<a href="/problems/{code}"><code>{code}</code></a>', str(status), prose(text))
        for code, (status, text) in sorted(codes.items())
    ]
    yield table(("code", "status", "what it means"), rows)


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """(method, path, operation) by subject."""
    found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation.get("tags", ["Other"])[0], []).append((method, path, operation))
    return dict(sorted(found.items()))


def _contents(by_tag: Mapping[str, list[tuple[str, str, dict[str, Any]]]]) -> Iterator[str]:
    yield '<nav id="contents"><h2>Contents</h2><p><a href="#keys">How one is let in</a>, '
    yield '<a href="#told">What webhooks are told</a>, <a href="#schemas">What is the same everywhere</a>, '
    yield '<a href="#problems">Problems</a></p>'
    for tag, operations in by_tag.items():
        yield f'<h3><a href="#{_anchor(tag)}">{escape(tag)}</a></h3><ul>'
        for method, path, operation in operations:
            yield (
                f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a><br>'
                f"<small>{method.upper()} {escape(_short(path))}</small></li>"
            )
        yield "</ul>"
    yield "</nav>"


def _anchor(tag: str) -> str:
    return f"tag-{tag.lower().replace(' ', '-')}"


def _short(path: str) -> str:
    return path.removeprefix("/v1/communities/{community}")


def _operation(
    method: str, path: str, operation: Mapping[str, Any], components: Mapping[str, Any], schemas: Schemas
) -> Iterator[str]:
    name, (text, _, who) = operation["operationId"], operation["description"].rpartition("\n\n")
    yield f'<section id="{name}"><h3><span class="method {method}">{method.upper()}</span> '
    yield f'<code>{escape(path)}</code> <a href="#{name}" title="a link to this">#</a></h3>'
    yield f'<p><b>{escape(operation["summary"])}.</b></p>{paragraphs(text)}<p class="who">{prose(who)}</p>'
    if parameters := operation.get("parameters"):
        rows = [_parameter(each, schemas) for each in parameters]
        yield f"<h4>Parameters</h4>{table(('name', 'type', 'what it is'), rows)}"
    if body := operation.get("requestBody"):
        yield from _body(body, schemas)
    yield f"<h4>For instance</h4><pre>{escape(_command(method, path, operation))}</pre>"
    yield "<h4>Answers</h4>"
    for status, answer in sorted(operation["responses"].items()):
        yield from _answer(status, answer, components, schemas)
    yield f"<p>{_problems(operation['responses'])}</p></section>"


def _parameter(each: Mapping[str, Any], schemas: Schemas) -> tuple[str, ...]:
    schema = {**each["schema"], "description": each.get("description", "")}
    name, kind, told = schemas.row(each["name"], schema, bool(each.get("required")), each["in"])
    if "example" in each:
        told += f" Such as <code>{escape(str(each['example']))}</code>."
    return name, kind, told


def _body(body: Mapping[str, Any], schemas: Schemas) -> Iterator[str]:
    for media_type, content in body["content"].items():
        yield f"<h4>Body, <code>{escape(media_type)}</code></h4>{prose(body.get('description', ''))}"
        yield schemas.table(content["schema"], is_sent=True)
        yield f"<pre>{escape(_json(content['example']))}</pre>"


def _command(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """How to ask by curl, with the examples; the body is canonical, as what is signed has to be."""
    query, filled = [], path
    for each in operation.get("parameters", ()):
        value = str(each.get("example", ""))
        if each["in"] == "path":
            filled = filled.replace(f"{{{each['name']}}}", quote(value))
        elif each["in"] == "query" and each.get("required"):
            query.append(f"{each['name']}={quote(value, safe='')}")
    url = f"{HOST}{filled}{'?' if query else ''}{'&'.join(query)}"
    words = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    if operation["security"]:
        words += ["-H", "Authorization: Bearer KEY"]
    lines = [shlex.join([*words, url])]
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    if content is not None:
        lines.append("--json " + shlex.quote(encode(content["example"]).decode()))
    return " \\\n  ".join(lines)


def _answer(
    status: str, answer: Mapping[str, Any], components: Mapping[str, Any], schemas: Schemas
) -> Iterator[str]:
    """An answer that is no problem; those are told by their statuses."""
    contents = {name: each for name, each in answer.get("content", {}).items() if name != PROBLEM}
    if "$ref" in answer or (not contents and int(status) >= HTTPStatus.BAD_REQUEST):
        return
    headers = [name for name in answer.get("headers", ()) if not components["headers"][name]["required"]]
    beside = f" Headers: {', '.join(f'<code>{name}</code>' for name in headers)}." if headers else ""
    yield f"<details><summary><b>{status}</b> {escape(answer.get('description', ''))}</summary>"
    for media_type, content in contents.items():
        schema = content.get("schema", {})
        fields = schemas.table(schema) or f"<p>{schemas.kind(schema)}</p>"
        yield f"<p><code>{escape(media_type)}</code></p>{fields}"
        if "example" in content:
            yield f"<pre>{escape(_json(content['example']))}</pre>"
    yield f"<p>{beside}</p></details>"


def _problems(answers: Mapping[str, Any]) -> str:
    found = [
        f"{status} {HTTPStatus(int(status)).phrase}"
        for status, answer in sorted(answers.items())
        if "$ref" in answer or PROBLEM in answer.get("content", {})
    ]
    return f'<a href="#problems">Problems</a>: {", ".join(found)}.'


def _told(topic: str, operation: Mapping[str, Any], schemas: Schemas) -> Iterator[str]:
    """A message that is sent, with its fields and its body as an example."""
    body = operation["requestBody"]["content"][JSON]
    yield f'<section id="{operation["operationId"]}"><h3><code>{topic}</code></h3>'
    yield f"<p>{escape(operation['summary'])}.</p>"
    yield f"<details><summary>Body</summary>{schemas.table(body['schema'])}</details>"
    yield f"<pre>{escape(operation['x-signed-example']['body'])}</pre></section>"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
