"""One request to somebody outside: its address judged when it is connected to, bounded in time and in bytes.

The name of a host is looked up for each request, and the very address that a socket is made for is judged:
a name that changes between check and use (DNS rebinding) gains nothing. Redirects are answers like any other
and are not followed; proxies, cookies and credentials of the environment do not count; certificates are
verified against the machine's authorities.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ledger.errors import Unavailable
from ledger.outgoing.addresses import Network, objection
from ledger.outgoing.names import Lookup, Names
from ledger.outgoing.target import OutgoingRefused, Target, target_of

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
ANSWER_BYTES_MAX = 1024 * 1024
CHUNK_BYTES = 16 * 1024
AGENT = "energy-ledger"


class OutgoingFailed(Unavailable):
    """Somebody outside was asked and did not answer: not known, not listening, not trusted, or gone."""

    code = "outgoing-failed"


class OutgoingTooSlow(OutgoingFailed):
    """Somebody outside was asked and did not answer in time."""

    code = "outgoing-too-slow"


class OutgoingTooLong(OutgoingFailed):
    """Somebody outside answered more than is read."""

    code = "outgoing-too-long"


class Reply(NamedTuple):
    """An answer; names of `headers` are in lower case, `is_cut` tells that there was more than was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False

    def whole(self) -> bytes:
        """The body. Raises `OutgoingTooLong` where it was not read to its end."""
        if self.is_cut:
            raise OutgoingTooLong(f"the answer is longer than the {len(self.body):,} bytes that are read")
        return self.body


class Outgoing:
    """Asks others over HTTP. `allowed` are networks that may be reached although they are not public, and
    there without TLS as well."""

    def __init__(self, allowed: Sequence[Network] = (), lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._lookup = lookup or Names().look_up

    def check(self, url: str) -> Target:
        """Whom a URL asks, judged as far as it can be before its name is looked up.

        Raises `OutgoingRefused`.
        """
        target = target_of(url)
        if not target.is_tls and not self._allowed:
            raise OutgoingRefused("only https is spoken", where=target.origin)
        if target.is_address and (why := self._objection(target, target.host)):
            raise OutgoingRefused(why, where=target.origin)
        return target

    async def get(
        self, url: str, headers: Mapping[str, str] | None = None, bytes_max: int = ANSWER_BYTES_MAX
    ) -> Reply:
        """Ask for something. Raises as `post`."""
        return await self._ask("GET", url, None, headers or {}, bytes_max)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Reply:
        """Send something. Whatever the answer's status, it is an answer.

        Raises `OutgoingRefused`, `OutgoingTooSlow`, `OutgoingFailed`; none of them shows more of the URL than
        its origin, or anything of headers, body and answer.
        """
        return await self._ask("POST", url, body, headers or {}, bytes_max)

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], bytes_max: int
    ) -> Reply:
        target, refused = self.check(url), list[str]()
        where = target.origin
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self._session(target, refused) as session:
                asked = session.request(
                    method, target.url, data=body, headers=headers, allow_redirects=False, ssl=self._trust
                )
                async with asked as response:
                    return await _read(response, bytes_max)
        # The library's words are left out: they may quote the URL.
        except TimeoutError:
            raise OutgoingTooSlow("it did not answer in time", where=where) from None
        except aiohttp.ClientConnectorCertificateError:
            raise OutgoingFailed("its certificate is not one that is trusted here", where=where) from None
        except aiohttp.ClientConnectorDNSError:
            raise OutgoingFailed("nobody knows an address of this host", where=where) from None
        except aiohttp.InvalidURL:
            raise OutgoingRefused("this is no URL", where=where) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if refused:
                raise OutgoingRefused(refused[0], where=where) from None
            raise OutgoingFailed(_what(error), where=where) from None

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """The machine's authorities, read once."""
        return ssl.create_default_context()

    def _session(self, target: Target, refused: list[str]) -> aiohttp.ClientSession:
        """A session for one request, on a connection of its own; what is refused is noted in `refused`."""
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._lookup), use_dns_cache=False, force_close=True,
            socket_factory=lambda info: self._socket(target, info, refused),
        )  # fmt: skip
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, connect=CONNECT_SECONDS),
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # few bytes must not become many
        )

    def _socket(self, target: Target, info: Any, refused: list[str]) -> socket.socket:
        """A socket for an address that has just been looked up, if it may be connected to."""
        family, kind, protocol, _, address = info
        if why := self._objection(target, str(address[0])):
            refused.append(why)
            raise PermissionError(why)
        return socket.socket(family, kind, protocol)

    def _objection(self, target: Target, address: str) -> str:
        return objection(address, target.port, is_tls=target.is_tls, allowed=self._allowed)


def _what(error: Exception) -> str:
    """What happened, in our own words."""
    match error:
        case aiohttp.ClientConnectorSSLError():
            return "it does not speak TLS as it should"
        case aiohttp.ClientConnectorError():
            return "it cannot be connected to"
    return "it broke off, or its answer is none of HTTP"


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> Reply:
    body = bytearray()
    headers = {name.lower(): value for name, value in response.headers.items()}
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > bytes_max:
            response.close()
            return Reply(response.status, headers, bytes(body[:bytes_max]), is_cut=True)
    return Reply(response.status, headers, bytes(body))


class _Resolver(AbstractResolver):
    """Names by `lookup`."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address, as the connector takes it."""
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._lookup(host, port)
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""
