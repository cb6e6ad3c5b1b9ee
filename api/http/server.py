"""A server of the application: it listens, and ends without losing a request that it took."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn

from api.http.accepting import Acceptor
from api.http.access_log import AccessLog
from api.http.app import build_app
from api.http.backend import Backend
from api.http.connection import MESSAGE_BYTES_MAX, BoundedProtocol, BoundedWebSocket, raise_descriptors
from api.http.limits import Limits
from api.http.metrics import Metrics
from api.http.middleware import Identifying, Traced
from api.http.repeating import keep_forgetting
from api.http.settings import ApiSettings
from api.webhooks.dispatcher import Dispatcher
from ledger.bus import Bus
from ledger.clock import Clock, SystemClock
from ledger.errors import BadInput
from ledger.opening import LedgerKeys
from ledger.postgres.pool import Pool
from ledger.settings import Settings
from settlement.billing.settings import BillingSettings

KEEP_ALIVE_SECONDS = 30
END_SECONDS = 20
BACKLOG = 2_048
STARTED_POLL_SECONDS = 0.02


class CannotListen(BadInput):
    """The address is taken, or is not this machine's."""

    code = "cannot-listen"


@asynccontextmanager
async def backend_of(
    book: Settings,
    settings: ApiSettings,
    bus: Bus,
    billing: BillingSettings | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Backend]:
    """What handlers work with, for the length of the block. Raises `StoreUnavailable`, `KeyFile`."""
    pool = await Pool.open(book.postgres, settings.connections)
    try:
        yield Backend(
            book,
            settings,
            pool,
            bus,
            LedgerKeys.load_or_create(book.keys_folder),
            clock or SystemClock(),
            billing or BillingSettings(),
            limits or Limits(),
        )
    finally:
        await pool.close()


class _Server(uvicorn.Server):
    """The library's; signals are for whoever runs the process, and so may the socket be, with others."""

    def __init__(self, config: uvicorn.Config, *, is_shared: bool) -> None:
        super().__init__(config)
        self._is_shared = is_shared

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept from the socket by our own hand."""
        await super().startup([])
        (listening,) = sockets or []
        self._acceptor = Acceptor(
            listening, self._connect, lambda: len(self.server_state.connections), is_shared=self._is_shared
        )

    async def _connect(self, accepted: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return BoundedProtocol(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        await asyncio.get_running_loop().connect_accepted_socket(protocol, accepted)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take who waits already, then nobody any more: the system would hang up on those who wait when
        the socket is closed."""
        await self._acceptor.end()
        await asyncio.sleep(0)  # whom the loop has just accepted gets its protocol
        await super().shutdown(sockets)


@asynccontextmanager
async def served(
    backend: Backend, listening: socket.socket | None = None, measurements: Path | None = None
) -> AsyncIterator[str]:
    """The application at its address, which the block is given; after it, requests under way are answered.

    Several processes serve behind one socket, each with its own `backend`: then they are given the socket,
    and the folder in which each keeps its measurements for all. Raises `CannotListen`.
    """
    settings = backend.settings
    metrics = Metrics(backend.community, measurements)
    access = AccessLog(backend.access, backend.clock, settings.access_log_months)
    inner = build_app(backend, metrics)
    app = Traced(Identifying(inner, backend), access, metrics)
    raise_descriptors()
    server = _Server(_config(app, settings), is_shared=listening is not None)
    stop = asyncio.Event()
    dispatcher = Dispatcher(backend.webhooks, backend.clock, metrics.delivery)
    kept = asyncio.gather(
        access.keep(stop), keep_forgetting(backend.access, backend.clock, stop),
        backend.sessions.keep_forgetting(stop), dispatcher.run(stop),
    )  # fmt: skip
    try:
        listening = listening or listening_at(settings)
        task = asyncio.ensure_future(server.serve([listening]))
        while not (server.started or task.done()):
            await asyncio.sleep(STARTED_POLL_SECONDS)
        try:
            yield address_of(listening)
        finally:
            await inner.state.live.close()
            server.should_exit = True
            await task
    finally:
        stop.set()
        await kept


def _config(app: Traced, settings: ApiSettings) -> uvicorn.Config:
    """The library's settings, all of them said: none is looked up in the environment."""
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, loop="none", http=BoundedProtocol,
        ws=BoundedWebSocket, ws_max_size=MESSAGE_BYTES_MAX, ws_per_message_deflate=False,
        lifespan="off", log_config=None, log_level="error", access_log=False, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, reset_contextvars=True, timeout_graceful_shutdown=END_SECONDS,
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=list(settings.trusted_proxies),
    )  # fmt: skip


def listening_at(settings: ApiSettings) -> socket.socket:
    """A socket at the settings' address. Raises `CannotListen`."""
    try:
        listening = socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise CannotListen(
            f"cannot listen: {error.strerror}",
            where=f"{settings.host}:{settings.port}",
            hint="does another program listen there? host and port stand under [api]",
        ) from error
    # What it accepts inherits this. Not every loop sets it, and a body would wait 40 ms behind its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket) -> str:
    """The address of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
