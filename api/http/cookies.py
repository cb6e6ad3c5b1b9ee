"""The cookie that holds a session's token, and where a request with one comes from.

    over HTTPS                 __Host-session          Secure: sent to this very host and over TLS only
    plain, within the machine  energy-ledger-session   where no TLS is needed
    plain, from elsewhere      none: a session would travel in the clear

That a request came over HTTPS is said by the proxy before the server, if `trusted_proxies` names it. Within
the machine is what comes from loopback to loopback's name and has passed no proxy: one on this machine comes
from loopback too, and many give the server's own name as the host.
"""

from ipaddress import ip_address

from litestar.types import Scope

from api.http.scopes import header, headers_of

SECURE_NAME = "__Host-session"
PLAIN_NAME = "energy-ledger-session"
_OF_PROXIES = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def cookie_name(scope: Scope) -> str | None:
    """The name of the cookie on a request's way; none where there may be none."""
    if _is_secure(scope):
        return SECURE_NAME
    return PLAIN_NAME if _is_within_machine(scope) else None


def session_token(scope: Scope) -> str | None:
    """The token that a request shows; none where it shows two, one of which may be somebody else's."""
    if not (texts := headers_of(scope, b"cookie")):
        return None
    name = cookie_name(scope)
    pairs = (pair.strip().partition("=") for text in texts for pair in text.split(";"))
    shown = [value for key, _, value in pairs if key == name]
    return shown[0] if len(shown) == 1 else None


def set_cookie(name: str, token: str) -> str:
    """A header that has a browser keep a token until it is closed; an empty one is not kept."""
    secure = "; Secure" if name == SECURE_NAME else ""
    ended = "" if token else "; Max-Age=0"
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{ended}"


def is_same_origin(scope: Scope) -> bool:
    """Whether a request comes from a page of this very server, as far as the browser says where it does.

    `Sec-Fetch-Site` is asked first: it is still right where a proxy has changed the `Host`.
    """
    if site := header(scope, b"sec-fetch-site"):
        return site == "same-origin"
    origin = header(scope, b"origin")
    return not origin or origin == f"http{'s' * _is_secure(scope)}://{header(scope, b'host')}"


def _is_secure(scope: Scope) -> bool:
    return scope["scheme"] in ("https", "wss")


def _is_within_machine(scope: Scope) -> bool:
    client = scope.get("client")
    return (
        client is not None
        and _is_loopback(client[0])
        and _is_loopback(_without_port(header(scope, b"host")))
        and all(name not in _OF_PROXIES for name, _ in scope["headers"])
    )


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdigit() else host


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
