"""For people in a browser: logging in by name and password, who one is, logging out, another password."""

from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
import structlog
from litestar import Request, Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.backend import Backend
from api.http.cookies import cookie_name, session_token, set_cookie
from api.http.guard import PUBLIC, SELF
from api.http.limits import network_of
from api.http.logins import LoginRefused
from api.http.principal import Principal
from api.http.problems import NotAllowed
from api.http.sessions import check_own_page, principal_of
from ledger.access import Role
from ledger.errors import Contradiction
from ledger.password import TYPED_LENGTH_MAX, new_password
from ledger.people import IDLE, NAME_LENGTH_MAX, PersonSession, csrf_token, new_session_token, session_digest

log = structlog.get_logger(__name__)

NO_STORE = {"Cache-Control": "no-store"}
IDLE_MINUTES = IDLE.seconds // 60
LOGIN_BYTES_MAX = 16 * 1024
"""Anybody may try, and what is read costs time."""

Req = Request[Any, Any, State]
Typed = Annotated[str, msgspec.Meta(min_length=1, max_length=TYPED_LENGTH_MAX)]


class NoSession(Contradiction):
    """Only a person who has logged in can do this, and no key."""

    code = "no-session"


class NotSecure(NotAllowed):
    """Nobody logs in where the password would travel in the clear."""

    code = "not-secure"


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who logs in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH_MAX, examples=["lek@example.org"])]
    password: Annotated[Typed, msgspec.Meta(examples=["mango under the ferry"])]


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password that one has, and the one to be."""

    password: Annotated[Typed, msgspec.Meta(examples=["mango under the ferry"])]
    new_password: Annotated[Typed, msgspec.Meta(examples=["eleven quiet tuk-tuks"])]


class SessionShape(msgspec.Struct, frozen=True):
    """Who asks. With a person's session: the name, the token that every request but GET needs as its
    `X-CSRF-Token`, after how many minutes without a request it ends, and when at the latest. None of them
    with a key."""

    role: Role
    building: str | None
    name: str | None = None
    csrf_token: str | None = None
    idle_minutes: int | None = None
    ends_at: datetime | None = None


def _shape(session: PersonSession, token: str) -> SessionShape:
    return SessionShape(
        session.role, session.building, session.name, csrf_token(token), IDLE_MINUTES, session.ends_at
    )


@post("/", may=PUBLIC, status_code=201, request_max_body_size=LOGIN_BYTES_MAX, summary="Log in")
async def log_in(request: Req, state: State, data: JSONBody[Login]) -> Response[SessionShape]:
    """Begin a session: the answer sets a cookie for this server alone, which no script can read. The browser
    shows it from then on, in the place of a key. 401 `login-refused` for a wrong name or password, 429 after
    some of them."""
    backend: Backend = state.backend
    check_own_page(request.scope, None)
    cookie = cookie_name(request.scope)
    if cookie is None:
        raise NotSecure(
            "a password is not taken over plain HTTP",
            hint="use https; the proxy with TLS before the ledger has to be one of `trusted_proxies`",
        )
    person = await backend.logins.person(data.name, data.password, _network(request))
    token, now = new_session_token(), backend.clock.now()
    digest = cast(bytes, session_digest(token))
    if not await backend.people.begin(digest, person, now):
        raise LoginRefused("name or password is wrong")
    await _end_shown(request, backend)
    session = PersonSession(
        digest, person.id, person.community, person.name, person.role, person.building, now, now
    )
    request.scope["user"] = principal_of(session)  # the access log tells who it was
    headers = {**NO_STORE, "Set-Cookie": set_cookie(cookie, token)}
    return Response(_shape(session, token), status_code=201, headers=headers)


@get("/", may=SELF, summary="Who one is")
async def who(request: Req, state: State) -> Response[SessionShape]:
    """The role that one asks in and, in a session, the token against requests from other sites' pages."""
    backend: Backend = state.backend
    principal = cast(Principal, request.scope["user"])  # the guard let it through
    token = session_token(request.scope)
    session = await backend.sessions.session(token) if principal.person and token else None
    if session is None or token is None:
        return Response(SessionShape(principal.role, principal.building), headers=NO_STORE)
    return Response(_shape(session, token), headers=NO_STORE)


@delete("/", may=SELF, status_code=204, summary="Log out")
async def log_out(request: Req, state: State) -> Response[None]:
    """End the session at once, and have the browser forget its cookie. 409 `no-session` with a key."""
    _person(request)
    await _end_shown(request, state.backend)
    headers = {**NO_STORE, "Set-Cookie": set_cookie(cookie_name(request.scope) or "", "")}
    return Response(None, status_code=204, headers=headers)


@post("/password", may=SELF, status_code=204, summary="Change one's password")
async def change_password(request: Req, state: State, data: JSONBody[PasswordChange]) -> Response[None]:
    """Take another password. All of one's other sessions end. 422 `password-unfit` for one that is short or
    among the first that others would try, 409 `no-session` with a key."""
    backend: Backend = state.backend
    principal, name = _person(request)
    fit = new_password(data.new_password, name)
    person = await backend.logins.person(name, data.password, _network(request))
    digest = session_digest(session_token(request.scope) or "")
    await backend.logins.change(person, fit, cast(bytes, digest))
    backend.sessions.forget_person(principal.prefix)
    return Response(None, status_code=204, headers=NO_STORE)


def _person(request: Req) -> tuple[Principal, str]:
    """Who asks in a session, and the name. Raises `NoSession`."""
    principal = cast(Principal, request.scope["user"])  # the guard let it through
    if principal.person is None:
        raise NoSession("this is for people who have logged in", hint="another key comes from the operator")
    return principal, principal.person


async def _end_shown(request: Req, backend: Backend) -> None:
    """End the session that a request shows, if it shows one."""
    digest = session_digest(session_token(request.scope) or "")
    if digest is not None:
        await backend.people.end_session(digest)
        backend.sessions.forget(digest)


def _network(request: Req) -> str:
    client = request.scope.get("client")
    return network_of(client[0] if client else "")


router = Router("/session", route_handlers=[log_in, who, log_out, change_password], tags=["Session"])
