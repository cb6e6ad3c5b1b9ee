"""What the server says of a connection beside its messages, and what that means for who waits on it."""

from collections import deque

import nats.errors
import structlog
from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR

from ledger.bus.nkey import StrangeNonce, user_nkey
from ledger.bus.users import User
from ledger.errors import Unavailable

log = structlog.get_logger(__name__)

DENIED_MAX = 32
"""Refused subjects that are remembered: a device can have the writer try as many as it likes."""


class BusUnavailable(Unavailable):
    """NATS does not answer, or has no room."""

    code = "bus-unavailable"


class BusRefused(BusUnavailable):
    """NATS does not let this user in, or not to that subject."""

    code = "not-authorised"


class Ear:
    """Hears what the server says of one connection; remembers a refusal until the user is let in."""

    def __init__(self, name: str, user: User | None) -> None:
        self.is_let_in = False
        """Whether it was let in once: from then on a refusal is waited out, and told once."""
        self._name = name
        self._user = user
        self.refusal: BusRefused | None = None
        self._denied: deque[str] = deque(maxlen=DENIED_MAX)

    async def error(self, error: Exception) -> None:
        """The library's callback. Raises `BusRefused` at the second refusal of a user that was never let in:
        a device that was enrolled just now is not in all lists yet."""
        said = str(error).casefold()
        refusal = self._refused(error, said)
        if refusal is not None:
            is_first, self.refusal = self.refusal is None, refusal
            if not self.is_let_in and not is_first:
                raise refusal
            if self.is_let_in and is_first:
                log.error(
                    "nats does not let this user in any more; it is asked again and again",
                    connection=self._name, code=refusal.code, detail=refusal.what, hint=refusal.hint,
                )  # fmt: skip
            return
        if PERMISSIONS_ERR in said:
            self._denied.append(said)
        # Until it is let in, an error ends the attempt to connect, and is told there if it is the last.
        tell = log.warning if self.is_let_in else log.info
        tell("bus error", connection=self._name, error=type(error).__name__, detail=str(error))

    def let_in(self) -> None:
        """The server has let the user in for the first time."""
        self.is_let_in, self.refusal = True, None

    async def disconnected(self) -> None:
        """The library's callback."""
        log.info("bus disconnected", connection=self._name)

    async def reconnected(self) -> None:
        """The library's callback. Rights may have been given meanwhile."""
        self.refusal = None
        self._denied.clear()
        log.info("bus connected again", connection=self._name)

    def is_denied(self, subject: str) -> bool:
        """Whether the server has said that this user has no right to the subject."""
        return any(f'"{subject.casefold()}"' in said for said in self._denied)

    def failed(self, what: str, subject: str, *, hint: str = "") -> BusUnavailable:
        """Why something with a subject failed, as far as the server has said why."""
        if self.refusal is not None:
            return self.refusal
        if self.is_denied(subject):
            return BusRefused(
                f"{what}: NATS gives {self._who()} no right to it", where=subject, hint=self._hint()
            )
        return BusUnavailable(what, where=subject, hint=hint)

    def _refused(self, error: Exception, said: str) -> BusRefused | None:
        if isinstance(error, StrangeNonce):
            hint = "nothing was signed: find out who answers at this address"
            return BusRefused(f"this is no NATS to be trusted: {error}", hint=hint)
        if AUTHORIZATION_VIOLATION in said and isinstance(error, nats.errors.Error):
            return BusRefused(f"NATS does not let {self._who()} in", hint=self._hint())
        return None

    def _who(self) -> str:
        if self._user is None:
            return "this user"
        return f"{self._user.kind} {self._user.name}"

    def _hint(self) -> str:
        if self._user is None:
            return "is the key the one that the server knows?"
        nkey = user_nkey(self._user.key.public)
        if self._user.kind == "device":
            return f"its key ({nkey} for NATS) must be enrolled: `energy-ledger status` lists the valid ones"
        return f"give the servers the list that `energy-ledger nats users` writes; it has to hold {nkey}"
