"""The headers of answers, as the API's description tells them.

Those that are HTTP's own, such as `Content-Type`, are not told: a client knows them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from api.http.middleware import SECURITY_HEADERS, UNLESS_SAID

HEADERS: dict[str, tuple[str, str]] = {
    "X-Request-Id": ("The request's id, by which the log finds it.", "3f9c0e8ad1b6527e"),
    "ETag": ("Names this answer: with it as `If-None-Match` the same is not sent again.", 'W/"8N01o8Ug"'),
    "Retry-After": ("So many seconds from now it may be sent again.", "2"),
    "WWW-Authenticate": ("What would let in (RFC 9110, section 11.6.1).", 'Bearer realm="energy-ledger"'),
    "Idempotent-Replayed": ("`true` where the request had been done before.", "true"),
    "Location": ("The path of what was made.", "/v1/communities/campus/buildings/school/orders/o-1"),
    "Content-Disposition": ("A name for the file.", 'attachment; filename="campus-42.jsonl"'),
    "Set-Cookie": (
        "The session, for browsers; where a session ends, an empty one.", "__Host-session=TOKEN; Path=/; ..",
    ),
    "X-Accel-Buffering": ("Asks proxies to pass each event on at once.", "no"),
}  # fmt: skip
"""What each is, and an example."""
PLAIN = {name.decode().title(): value.decode() for name, value in (*UNLESS_SAID.items(), *SECURITY_HEADERS)}
"""Headers whose meaning is HTTP's or the browsers', as they are where nothing else is said."""
EVERYWHERE = ("X-Request-Id", *PLAIN)
BY_STATUS: dict[str, tuple[str, ...]] = {
    "304": ("ETag",), "401": ("WWW-Authenticate",), "202": ("Retry-After",), "429": ("Retry-After",),
    "503": ("Retry-After",), "409": ("Retry-After",),
}  # fmt: skip
KEPT = frozenset({"200", "201", "202", "400", "404", "409", "422"})
"""Statuses that a request is answered with again when it is sent again."""
BY_OPERATION: dict[tuple[str, str], tuple[str, ...]] = {
    ("orders_place", "201"): ("Location",),
    ("agreements_propose", "201"): ("Location",),
    ("audit_export", "200"): ("Content-Disposition",),
    ("buildings_extract", "200"): ("Content-Disposition",),
    ("buildings_live", "200"): ("X-Accel-Buffering",),
    ("orders_remove", "200"): ("Idempotent-Replayed",),
    ("session_log_in", "201"): ("Set-Cookie",),
    ("session_log_out", "204"): ("Set-Cookie",),
}


def tell_headers(document: dict[str, Any]) -> None:
    """Put the headers to all answers of a description."""
    components = document["components"]
    components["headers"] = {name: _header(name) for name in (*HEADERS, *PLAIN)}
    for name, answer in components["responses"].items():
        status = name.removeprefix("Problem")
        replayed = ("Idempotent-Replayed",) if status in KEPT else ()
        answer["headers"] = _refs(*EVERYWHERE, *BY_STATUS.get(status, ()), *replayed)
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if "$ref" not in answer:
                    answer["headers"] = _refs(*_of_answer(operation, status))


def _of_answer(operation: Mapping[str, Any], status: str) -> Iterator[str]:
    yield from EVERYWHERE
    yield from BY_STATUS.get(status, ())
    yield from BY_OPERATION.get((operation["operationId"], status), ())
    if status == "200" and "304" in operation["responses"]:
        yield "ETag"
    if status in KEPT and any(each["name"] == "Idempotency-Key" for each in operation["parameters"]):
        yield "Idempotent-Replayed"


def _header(name: str) -> dict[str, Any]:
    described, shown = HEADERS.get(name, ("", PLAIN.get(name, "")))
    told = {"description": described} if described else {}
    return {**told, "required": name in EVERYWHERE, "schema": {"type": "string"}, "example": shown}


def _refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
