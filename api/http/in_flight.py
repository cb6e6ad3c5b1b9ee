"""How many requests somebody may have answered at once, beside how many in a minute (`api.http.limits`).

One key, or one address without a key, could otherwise hold all connections to Postgres with a few requests
that take long. A stream of live messages counts until it begins: from then on it has bounds of its own.
"""

from collections import Counter
from types import TracebackType
from typing import Self, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.http.layer import Layer
from api.http.limits import network_of
from api.http.principal import Principal
from api.http.problems import TooMany
from api.http.scopes import OPEN_ENDED

OF_A_KEY_MAX = 32
OF_AN_ADDRESS_MAX = 200
"""More than for a key: a whole campus may send its envelopes from one address."""
RETRY_SECONDS = 1


class TooManyAtOnce(TooMany):
    """Who asks has as many requests under way as one may have."""

    code = "too-many-at-once"


class Turnstile:
    """Counts what is under way for each name, in this process."""

    def __init__(self, most: int, who: str) -> None:
        self._most = most
        self._who = who
        self._under_way: Counter[str] = Counter()

    def passed(self, name: str) -> "Pass":
        """Be counted for the length of a block, or until the pass is given back. Raises `TooManyAtOnce`."""
        if self._under_way[name] >= self._most:
            raise TooManyAtOnce(f"{self._who} has {self._most} requests under way", seconds=RETRY_SECONDS)
        self._under_way[name] += 1
        return Pass(self._under_way, name)


class Pass:
    """One request that is counted, until the end of a block."""

    __slots__ = ("_is_mine", "_name", "_under_way")

    def __init__(self, under_way: Counter[str], name: str) -> None:
        self._under_way = under_way
        self._name = name
        self._is_mine = True

    def give_back(self) -> None:
        """Count it no longer."""
        if self._is_mine:
            self._is_mine = False
            self._under_way[self._name] -= 1
            if not self._under_way[self._name]:
                del self._under_way[self._name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.give_back()


class InFlight(Layer):
    """Lets so many requests of each key and of each address pass at once."""

    def __init__(self) -> None:
        self._keys = Turnstile(OF_A_KEY_MAX, "this key")
        self._strangers = Turnstile(OF_AN_ADDRESS_MAX, "this address")

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass a request on. Raises `TooManyAtOnce`."""
        if scope["type"] != ScopeType.HTTP:
            await next_app(scope, receive, send)
            return
        principal, client = cast(Principal | None, scope.get("user")), scope.get("client")
        if principal is not None:
            mine = self._keys.passed(principal.prefix)
        else:
            mine = self._strangers.passed(network_of(client[0] if client else ""))
        with mine:

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start" and scope["state"].get(OPEN_ENDED):
                    mine.give_back()
                await send(message)

            await next_app(scope, receive, sent)
