"""Errors as problem details (RFC 9457): the code, what is wrong, where, and what to do about it.

Coded errors are mapped by the table `STATUS`, the nearest base class first; what the library itself refuses
(a path that is not there, a body that does not fit) gets a code of its own in `LIBRARY`.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Message, Scope, Send

from api.http.parameters import RepeatedParameter, UnknownParameter, told_of
from ledger.access import without_secrets
from ledger.errors import BadInput, Contradiction, Damaged, LedgerError, Unavailable
from ledger.market import GateClosed

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
BODY = "body"


class NotKnown(LedgerError):
    """Nobody is known by what the request shows, or it shows nothing."""

    code = "not-authenticated"


class NotAllowed(LedgerError):
    """Who asks may not."""

    code = "not-allowed"


class NotThere(BadInput):
    """There is no such thing, or none that who asks may see."""

    code = "not-found"


class TooMany(LedgerError):
    """More requests than a key may send."""

    code = "too-many-requests"

    def __init__(self, what: str, *, seconds: int) -> None:
        super().__init__(what, hint=f"try again in {seconds} s, see Retry-After")
        self.seconds = seconds


class InProgress(Contradiction):
    """The same request is being answered right now."""

    code = "in-progress"


class NotKept(Contradiction):
    """The same request was answered before; the answer was too long to be kept, or no longer opens."""

    code = "answer-not-kept"


class OtherRequest(BadInput):
    """An Idempotency-Key was used for another request before."""

    code = "idempotency-key-reused"


STATUS: dict[type[LedgerError], int] = {
    NotKnown: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotThere: HTTPStatus.NOT_FOUND,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    UnknownParameter: HTTPStatus.BAD_REQUEST,
    RepeatedParameter: HTTPStatus.BAD_REQUEST,
    OtherRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    InProgress: HTTPStatus.CONFLICT,
    GateClosed: HTTPStatus.CONFLICT,
    Contradiction: HTTPStatus.CONFLICT,
    BadInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Damaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    LedgerError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
BY_CODE: dict[str, int] = {
    **dict.fromkeys(
        ("unknown-building", "unknown-order", "unknown-agreement", "unknown-document", "tile-missing",
         "nothing-to-export", "unknown-line", "not-open"),
        HTTPStatus.NOT_FOUND,
    ),
    **dict.fromkeys(
        ("name-in-use", "already-issued", "already-cancelled", "not-settled", "fork", "chain-broken",
         "sequence-gap", "contradiction", "gate-closed"),
        HTTPStatus.CONFLICT,
    ),
    **dict.fromkeys(
        ("not-a-party", "not-permitted", "bad-signature", "unknown-device", "key-revoked", "token-invalid"),
        HTTPStatus.FORBIDDEN,
    ),
}  # fmt: skip
"""Codes whose class does not tell their status."""

HINTS: dict[str, str] = {
    "already-issued": "`GET invoices?month=..` lists them; what has changed comes with the next month's",
    "unknown-document": "`GET invoices` lists them; a month is billed anew by issuing it again",
    "amount-too-large": "`GET buildings/../statement/..` shows its days; look at its agreements' prices",
    "nothing-to-compare": "`GET runs` tells of which time there are energies; where no rules were published,"
    " tell all of them in `rules`",
    "own-file": "name one of the ledger's own tariffs, or tell the prices in `rules`",
    "other-zone": "publish a copy of its document with the community's time zone, and the hours meant there",
    "other-currency": "name a tariff in the community's currency, or publish a copy with its amounts in that",
    "contract-missing": "tell the power that is contracted as `contracted_w` of the rules",
    "nothing-to-export": "wait for it: `GET log/checkpoint` answers once there is one that is published",
    "store-refused": "tell who runs the ledger the request's id: its store is not as it should be",
    "bus-refused": "tell who runs the ledger the request's id: its NATS does not let it in",
}
"""What to do about it, for who came over HTTP and has no command line, where the error's own hint speaks of
that."""
FIELDS: dict[str, str] = {
    "--begin": "begin", "--until": "until", "--since": "since", "--energy-wh": "energy_wh",
    "--from": "clock_from", "--to": "clock_until", "--mechanism": "mechanisms", "--rules": "rules",
}  # fmt: skip
"""The fields here of what is called by the options of the command line where it is judged."""

REGEX = "matching regex"
"""What the library says of a text that does not fit a pattern, which it then tells."""
NAME_LETTERS, NAME_WORDS = "[a-z0-9._-]{1,64}", "a name is 1 to 64 of a-z, 0-9, `.`, `_` and `-`"
"""What is in the pattern of names, and what they are in words."""
NO_BODY = "'data'"
"""What the library says where there is none: the name that handlers have for it."""
LIBRARY: dict[int, str] = {
    400: "bad-request", 401: "not-authenticated", 403: "not-allowed", 404: "not-found",
    405: "method-not-allowed", 408: "too-slow", 413: "too-large", 415: "other-media-type",
    431: "headers-too-large", 501: "not-implemented", 505: "other-http-version",
}  # fmt: skip


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong. `code` never changes its meaning; the words may."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    where: str = ""
    hint: str = ""
    instance: str = ""  # the request's id, by which the log finds it


def status_of(error: LedgerError) -> int:
    """The status that a coded error is answered with."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def hint_of(error: LedgerError) -> str:
    """What to do about a coded error, over HTTP."""
    return HINTS.get(error.code, error.hint)


def problem(
    status: int, code: str, detail: str, *, where: str = "", hint: str = "", instance: str = ""
) -> Problem:
    """A problem, its title the status' own words. A token that somebody put in a wrong place is not shown."""
    title, detail, where = HTTPStatus(status).phrase, without_secrets(detail), without_secrets(where)
    return Problem(f"/problems/{code}", title, int(status), code, detail, where, hint, instance)


def _answer(found: Problem, headers: dict[str, str]) -> Response[bytes]:
    return Response(
        msgspec.json.encode(found), status_code=found.status, media_type=MEDIA_TYPE, headers=headers
    )


def _told(error: LedgerError, instance: str) -> tuple[Problem, dict[str, str]]:
    """A coded error as a problem, and the headers that go with it."""
    status, headers = status_of(error), {}
    match error:
        case NotKnown():
            headers["WWW-Authenticate"] = 'Bearer realm="energy-ledger"'
        case TooMany():
            headers["Retry-After"] = str(error.seconds)
        case Unavailable() | InProgress():
            headers["Retry-After"] = str(RETRY_SECONDS)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", code=error.code, what=error.what)
    if isinstance(error, Damaged):  # what the store or its files say of it is for the log
        what, hint = "what is stored is not as it should be", "tell the operator the request's id"
        return problem(status, error.code, what, hint=hint, instance=instance), headers
    where = FIELDS.get(error.where, error.where)
    return problem(
        status, error.code, error.what, where=where, hint=hint_of(error), instance=instance
    ), headers


def coded(request: Request[Any, Any, Any], error: LedgerError) -> Response[bytes]:
    """The answer to a coded error."""
    return _answer(*_told(error, request_id(request.scope)))


def library(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The answer to what the library refuses."""
    return _answer(*_refused(error, request.scope))


def _refused(error: HTTPException, scope: Scope) -> tuple[Problem, dict[str, str]]:
    """What the library refuses as a problem, and the headers that go with it."""
    status = error.status_code
    detail, where, hint = error.detail, "", ""
    if isinstance(error, ValidationException) and error.extra:
        first: Any = error.extra[0]  # type: ignore[index]  # a list of dicts, typed looser
        if isinstance(first, dict):
            detail, key = str(first.get("message", detail)), str(first.get("key", ""))
            is_body = first.get("source") == BODY
            where, hint = told_of(scope["route_handler"], key, detail, is_body=is_body)
    if detail == NO_BODY:
        detail = "this needs a body"
    if REGEX in detail:
        hint = NAME_WORDS if NAME_LETTERS in detail else hint
        detail = "the text does not have the form that is asked for"
    found = problem(
        status, LIBRARY.get(status, "refused"), detail[:300], where=where[:100], hint=hint,
        instance=request_id(scope),
    )  # fmt: skip
    return found, dict(error.headers or {})


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to a failure of our own: its words stay in the log."""
    return _answer(_failure(request.scope, error), {})


def _failure(scope: Scope, error: Exception) -> Problem:
    log.error("request failed", exc_info=error)
    return problem(
        500, "internal-error", "the ledger failed to answer", hint="tell the operator the request's id",
        instance=request_id(scope),
    )  # fmt: skip


def request_id(scope: Scope) -> str:
    """The id that the request goes by."""
    return str(scope.get("state", {}).get("request_id", ""))


# --- the same, for what stands before the library ---------------------------------------------


def refuse(scope: Scope, error: LedgerError) -> Callable[[Send], Awaitable[None]]:
    """Sends the answer to a coded error."""
    return _sender(*_told(error, request_id(scope)))


def failed(scope: Scope, error: Exception) -> Callable[[Send], Awaitable[None]]:
    """Sends the answer to a failure of our own."""
    return _sender(_failure(scope, error), {})


REFUSED_BY = "refused_by"


async def keep_refusal(error: Exception, scope: Scope) -> None:
    """Remember what a request was refused by: the library asks nobody how a WebSocket is to be told."""
    scope["state"][REFUSED_BY] = error


def refusal_of(scope: Scope) -> Callable[[Send], Awaitable[None]]:
    """Sends the answer to what a request was refused by."""
    match scope["state"].get(REFUSED_BY):
        case LedgerError() as error:
            return refuse(scope, error)
        case HTTPException() as error:
            return _sender(*_refused(error, scope))
        case error:
            return failed(scope, error or NotThere("nobody answers here"))


def _sender(found: Problem, headers: dict[str, str]) -> Callable[[Send], Awaitable[None]]:
    body = msgspec.json.encode(found)
    fields = {**headers, "content-type": MEDIA_TYPE, "content-length": str(len(body))}
    start = {
        "type": "http.response.start", "status": found.status,
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
    }  # fmt: skip

    async def send_it(send: Send) -> None:
        await send(cast(Message, start))
        await send(cast(Message, {"type": "http.response.body", "body": body, "more_body": False}))

    return send_it


HANDLERS: dict[Any, Any] = {LedgerError: coded, HTTPException: library, Exception: unexpected}
__all__ = ["HANDLERS", "MediaType", "NotAllowed", "NotKnown", "NotThere", "Problem", "problem"]
