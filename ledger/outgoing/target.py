"""What a URL may be that somebody names to the ledger, and what of it may be shown.

Only the origin is shown, in errors and logs as well: paths and queries of webhooks and vendors hold tokens.
"""

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from ledger.errors import BadInput

URL_LENGTH_MAX = 2_000
PORTS = {"https": 443, "http": 80}
_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class OutgoingRefused(BadInput):
    """A URL that the ledger does not ask: it is no plain https, or leads to an address that is not public."""

    code = "outgoing-refused"


class Target(NamedTuple):
    """Whom a URL asks. `host` is a name in lower case or an address without brackets."""

    url: str
    is_tls: bool
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port: all of it that may be shown."""
        scheme = "https" if self.is_tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}" if self.port == PORTS[scheme] else f"{scheme}://{host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Whether the host is an address and not a name."""
        return _is_address(self.host)


def target_of(url: str) -> Target:
    """Whom a URL asks. Raises `OutgoingRefused`; its words repeat nothing of the URL."""
    if len(url) > URL_LENGTH_MAX or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise _refused(f"a URL has at most {URL_LENGTH_MAX:,} printable characters of ASCII")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise _refused("this is no URL") from None
    if parts.scheme not in PORTS:
        raise _refused("only https is spoken")
    if "@" in parts.netloc:
        raise _refused("a user or password in a URL is not taken", "let the path tell who it is for")
    if "#" in url:
        raise _refused("a URL that is asked has no fragment")
    if not _is_host(host):
        raise _refused("its host is neither a name nor an address in its usual form")
    if port == 0:
        raise _refused("nobody listens on port 0")
    return Target(url, parts.scheme == "https", host, port or PORTS[parts.scheme])


def _refused(what: str, hint: str = "") -> OutgoingRefused:
    return OutgoingRefused(what, where="url", hint=hint or "write it as https://hooks.example.org/path")


def _is_host(host: str) -> bool:
    """Whether it is an address in its usual form, or a name that nobody can take for one: 127.1, 0x7f000001
    and 2130706433 are addresses to some who read them."""
    if _is_address(host):
        return True
    labels = host.split(".")
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def _is_address(host: str) -> bool:
    try:
        return not getattr(ip_address(host), "scope_id", None)
    except ValueError:
        return False
