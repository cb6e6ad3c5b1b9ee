"""One connection to NATS: it reconnects for ever and says so in coded errors, never in library ones."""

import asyncio
import random
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import nats
import nats.errors
import nats.js.errors
import nkeys  # type: ignore[import-untyped]  # the library has no types
import structlog
from nats.aio.client import DEFAULT_INBOX_PREFIX, Client
from nats.aio.msg import Msg

from ledger.bus import stream, subjects
from ledger.bus.ear import BusRefused, BusUnavailable, Ear
from ledger.bus.intake import Intake
from ledger.bus.stores import Stores, page_of, unwell
from ledger.bus.stream import PUBLISH_SECONDS
from ledger.bus.tolerant import TolerantClient
from ledger.bus.users import QUEUE, User
from ledger.clock import monotonic_seconds
from ledger.errors import BadInput, Unavailable

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5
RECONNECT_SECONDS = 1
STORES_NOTHING = (
    "make room on NATS' disk, then restart it: after a write that failed it stores nothing until then;"
    " `energy-ledger up` restarts its own by itself"
)


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach NATS. Secrets are named by file, never written here."""

    url: str = ""  # empty: the embedded server
    monitor_url: str = ""  # HTTP monitoring of the same server, to check that it syncs
    users_file: str = ""  # where the writer keeps the list of users for the servers
    nkey_seed_file: str = ""  # of a user that somebody else keeps, instead of the ledger's own
    ca_file: str = ""
    replicas: int = 1
    relaxed_sync: bool = False


class BusUnsafe(BadInput):
    """JetStream acknowledges before it has written to disk."""

    code = "bus-unsafe"


class Bus:
    """A connection. Use as `async with Bus.connect(..) as bus`."""

    def __init__(self, client: Client, settings: BusSettings, ear: Ear) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=PUBLISH_SECONDS)
        self._settings = settings
        self._ear = ear
        self._stores = Stores()

    @classmethod
    async def connect(
        cls, settings: BusSettings, name: str, user: User | None = None, *, patience_seconds: float = 10
    ) -> Self:
        """Connect as `user`, under a name that the server's own pages show.

        Raises `BusUnavailable` when no server answers for that long, `BusRefused` when one will not have this
        user. A server that goes away or refuses later is asked again without end: the outbox keeps
        what cannot be sent.
        """
        options = _options(settings, user)
        ear = Ear(name, user)
        client = TolerantClient(user.key if user and not settings.nkey_seed_file else None)
        try:
            async with asyncio.timeout(patience_seconds):
                await client.connect(
                    settings.url.split(","),
                    name=name,
                    connect_timeout=CONNECT_SECONDS,
                    # Jitter, so that a thousand gateways do not return in the same instant.
                    reconnect_time_wait=RECONNECT_SECONDS + random.randrange(3),
                    max_reconnect_attempts=-1,
                    error_cb=ear.error,
                    disconnected_cb=ear.disconnected,
                    reconnected_cb=ear.reconnected,
                    **options,
                )
        except (OSError, TimeoutError, BusRefused, nats.errors.Error) as error:
            await client.close()
            where = shown(settings.url)
            if ear.refusal is not None:
                raise BusRefused(ear.refusal.what, where=where, hint=ear.refusal.hint) from error
            raise BusUnavailable(
                "NATS does not answer", where=where, hint="is the server running?"
            ) from error
        ear.let_in()
        return cls(client, settings, ear)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Flush and leave; within seconds, also when the server is gone."""
        if self._client.is_closed:
            return
        try:
            async with asyncio.timeout(2):
                await self._client.flush()
        except (TimeoutError, nats.errors.Error):
            log.info("bus closed with unsent messages")
        await self._client.close()

    async def check_sync(self) -> None:
        """Make sure that JetStream writes to disk before it acknowledges.

        By default it syncs every two minutes and can lose what it acknowledged. Raises `BusUnsafe` when the
        server says so, unless the settings relax it (a fleet whose gateways all have an outbox).
        """
        if self._settings.relaxed_sync:
            return
        if not self._settings.monitor_url:
            log.warning("cannot check whether jetstream syncs", hint="set nats.monitor_url")
            return
        varz = await asyncio.to_thread(page_of, self._settings.monitor_url, "/varz")
        if not varz.get("jetstream", {}).get("config", {}).get("sync_always"):
            raise BusUnsafe(
                "JetStream acknowledges messages before they are on disk",
                where=self._settings.monitor_url,
                hint="set `sync_interval: always` in the server's jetstream block, or `relaxed_sync = true`",
            )

    async def check_stores(self) -> None:
        """Make sure that JetStream stores what it is given, by its own word and by the last envelopes; of
        several servers one alone decides nothing, and its word is left out. Raises `BusUnavailable`."""
        said = await self.unwell() if self._settings.replicas == 1 else ""
        said = said or self._stores.lately()
        if said:
            where = shown(self._settings.url)
            raise BusUnavailable(f"JetStream stores nothing: {said}", where=where, hint=STORES_NOTHING)

    async def unwell(self) -> str:
        """What the server whose monitoring is known says is wrong with it; empty if it is well, or if none
        is known. Raises `BusUnavailable`."""
        monitor = self._settings.monitor_url
        return await asyncio.to_thread(unwell, monitor) if monitor else ""

    async def ensure_stream(self) -> None:
        """Create the stream of envelopes where it does not exist. Raises `BusUnavailable`."""
        subject = f"$JS.API.STREAM.CREATE.{subjects.STREAM}"
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await stream.make_sure(self._jetstream, self._settings.replicas)
        except (TimeoutError, nats.errors.Error) as error:
            what = f"the stream of envelopes cannot be had: {stream.words_of(error)}"
            raise self._ear.failed(what, subject, hint=stream.hint_of(error)) from error

    async def publish_envelope(self, community: str, device: str, data: bytes) -> None:
        """Hand an envelope to JetStream and wait until it is stored. Raises `BusUnavailable`."""
        subject, begun = subjects.envelopes(community, device), monotonic_seconds()
        try:
            # The library's own time-out does not cover every state of a reconnect.
            async with asyncio.timeout(PUBLISH_SECONDS + 1):
                await self._jetstream.publish(subject, data)
        except (TimeoutError, nats.errors.Error) as error:
            what = f"the envelope was not stored: {stream.words_of(error)}"
            failure = self._ear.failed(what, subject, hint=stream.hint_of(error))
            if isinstance(error, TimeoutError | nats.js.errors.Error) and not isinstance(failure, BusRefused):
                self._stores.refused(what, begun)
            raise failure from error
        self._stores.stored()

    def intake(self, community: str) -> Intake:
        """The envelopes that wait for `community`'s writer."""
        return Intake(self._client, self._jetstream, community, self.ensure_stream)

    async def publish_receipt(self, community: str, device: str, receipt: bytes) -> None:
        """Answer `device`. Raises `BusUnavailable`; a receipt that is lost is asked for again."""
        try:
            await self._client.publish(subjects.receipts(community, device), receipt)
        except nats.errors.Error as error:
            raise BusUnavailable(f"the receipt was not sent: {type(error).__name__}") from error

    async def on_receipts(
        self, community: str, device: str, handle: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Have `handle` called with every receipt for `device`. Raises `BusUnavailable`."""

        async def take(message: Msg) -> None:
            await handle(message.data)

        await self._subscribe(subjects.receipts(community, device), take)

    async def ask_heads(self, community: str, device: str) -> bytes:
        """The ledger's signed answer on where `device`'s chains go on. Raises `BusUnavailable`."""
        return await self._ask(subjects.heads(community, device), "the ledger did not tell its heads")

    async def serve_heads(self, community: str, answer: Callable[[str], Awaitable[bytes]]) -> None:
        """Answer every device's request for heads with `answer(device)`."""
        await self._serve(subjects.heads(community), answer)

    async def ask_seal(self, community: str) -> bytes:
        """Have a block sealed now; the newest block's canonical bytes. Raises `BusUnavailable`."""
        return await self._ask(subjects.seal(community), "the ledger did not seal a block")

    async def serve_seal(self, community: str, answer: Callable[[str], Awaitable[bytes]]) -> None:
        """Answer requests for a block with `answer`."""
        await self._serve(subjects.seal(community), answer)

    async def _ask(self, subject: str, failure: str) -> bytes:
        try:
            reply = await self._client.request(subject, b"", timeout=PUBLISH_SECONDS)
        except (TimeoutError, nats.errors.Error) as error:
            what = f"{failure}: {type(error).__name__}"
            raise self._ear.failed(what, subject, hint="is the writer running?") from error
        return reply.data

    async def _serve(self, subject: str, answer: Callable[[str], Awaitable[bytes]]) -> None:
        async def reply(message: Msg) -> None:
            try:
                await message.respond(await answer(subjects.device_of(message.subject)))
            except Unavailable as error:
                # Unanswered: whoever asked will ask again.
                log.warning("request not answered", subject=subject, code=error.code)

        await self._subscribe(subject, reply, queue=QUEUE)

    async def _subscribe(self, subject: str, take: Callable[[Msg], Awaitable[None]], queue: str = "") -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._client.subscribe(subject, queue=queue, cb=take)
                await self._client.flush()
        except (TimeoutError, nats.errors.Error) as error:
            raise self._ear.failed(f"cannot listen: {type(error).__name__}", subject) from error
        if self._ear.is_denied(subject):
            raise self._ear.failed("cannot listen", subject)


def shown(url: str) -> str:
    """The address as it may be told: what somebody wrote before the @ is nobody else's business."""
    return re.sub(r"//[^/,]*@", "//", url)


def _options(settings: BusSettings, user: User | None) -> dict[str, Any]:
    """The library's options for who connects, and for what the settings name by file.

    Raises `BusUnavailable` for a useless file.
    """
    options: dict[str, Any] = {"inbox_prefix": DEFAULT_INBOX_PREFIX}
    file = ""
    try:
        if file := settings.nkey_seed_file:
            nkeys.from_seed(bytearray(Path(file).read_bytes().strip()))
            options["nkeys_seed"] = file
        elif user is not None:
            options["inbox_prefix"] = user.inbox
        if file := settings.ca_file:
            options["tls"] = ssl.create_default_context(cafile=file)
    except (OSError, ValueError, nkeys.NkeysError) as error:
        raise BusUnavailable(
            f"a file that [nats] names cannot be used: {error}", where=file, hint="check its path and content"
        ) from error
    return options
