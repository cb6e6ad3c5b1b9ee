"""The API's own description as a page to read, and a page for each code of a problem."""

from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath

from api.http.caching import SECONDS, answered
from api.http.guard import PUBLIC
from api.http.openapi import MEDIA_TYPE_DOCUMENT, Description
from api.http.problems import LIBRARY, NotThere, status_of
from api.http.reference_page import STYLE, html_page, reference
from api.http.reference_schema import paragraphs
from ledger.errors import LedgerError

CSS = "text/css"

Req = Request[Any, Any, State]


@get("/docs", may=PUBLIC, include_in_schema=False, media_type=MediaType.HTML)
async def page(state: State) -> str:
    """All operations, by subject."""
    description: Description = state.description
    return _page(description)


@lru_cache(maxsize=1)
def _page(description: Description) -> str:
    return reference(description.document, known_codes())


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
    told = f"<h1><code>{escape(code)}</code></h1><p>Status {status}</p>{paragraphs(text)}"
    return "".join(html_page(code, iter([told, '<p><a href="/docs#problems">All codes</a></p>'])))


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
