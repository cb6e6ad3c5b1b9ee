"""The application: which resources there are, what happens around each, and what it says of itself."""

from collections.abc import Sequence

from litestar import Litestar, Router
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.guard import Guarding
from api.http.in_flight import InFlight
from api.http.live.hub import Hub
from api.http.metrics import Metrics
from api.http.openapi import Description
from api.http.parameters import KnowingQuery
from api.http.problems import HANDLERS, keep_refusal
from api.http.repeating import Repeating
from api.http.requests import ReadRequest
from api.http.routes import (
    agreements,
    audit,
    billing,
    buildings,
    devices,
    live,
    log,
    market,
    operations,
    operators,
    orders,
    reference,
    registry,
    run_inputs,
    session,
    webhooks,
    what_if,
)

GZIP_BYTES_MIN = 1_000

ROUTES: Sequence[ControllerRouterHandler] = (
    operations.livez, operations.readyz, operations.metrics, reference.page, reference.style,
    reference.document, reference.problem_page,
)  # fmt: skip
OF_A_COMMUNITY: Sequence[ControllerRouterHandler] = (
    log.router, billing.router, operators.router, registry.router, what_if.router, buildings.router,
    orders.router, agreements.router, devices.envelopes, devices.router, audit.router, session.router,
    market.router, run_inputs.router, webhooks.router,
)  # fmt: skip


def build_app(backend: Backend, metrics: Metrics) -> Litestar:
    """The application around a backend; it makes nothing and asks nobody until it is asked."""
    community = Router("/v1/communities/{community:str}", route_handlers=OF_A_COMMUNITY)
    handlers = [*ROUTES, community]
    desk = OrderDesk(backend)
    return Litestar(
        route_handlers=handlers,
        middleware=[InFlight(), Guarding(backend), KnowingQuery(), Repeating(backend)],
        request_class=ReadRequest,
        exception_handlers=HANDLERS,
        after_exception=[keep_refusal],
        state=State(
            {
                "backend": backend,
                "metrics": metrics,
                "description": Description(handlers),
                "desk": desk,
                "live": Hub(backend, desk, metrics.listening),
            }
        ),
        compression_config=CompressionConfig(
            backend="gzip",
            minimum_size=GZIP_BYTES_MIN,
            gzip_compress_level=5,
            exclude_opt_key=live.UNCOMPRESSED,
        ),
        logging_config=None,  # it says nothing that `problems` does not answer and tell
        openapi_config=None,  # `reference.document` serves it, completed
        request_max_body_size=backend.settings.body_bytes_max,
        debug=False,
    )
