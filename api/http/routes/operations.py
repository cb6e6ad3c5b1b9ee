"""For whoever keeps it running: whether it lives, whether it is ready, what it measures."""

from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from api.http.backend import Backend
from api.http.guard import PUBLIC
from api.http.metrics import Metrics
from api.http.principal import Principal
from api.http.readiness import JETSTREAM, WELL
from ledger.postgres.health import read_health
from ledger.postgres.witnesses import read_witnesses

NOT_WELL = "not ok"
PROMETHEUS = "text/plain; version=1.0.0"


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be sent here, and what each part says: `ok`, or what is wrong with it, or to
    strangers only that it is `not ok`."""

    ready: bool
    parts: dict[str, str]


@get("/livez", may=PUBLIC, tags=["Operations"], summary="Whether the process answers")
async def livez() -> Liveness:
    """Always well, if it answers at all."""
    return Liveness("ok")


@get(
    "/readyz",
    may=PUBLIC,
    tags=["Operations"],
    summary="Whether requests can be sent here",
    responses={503: ResponseSpec(Readiness, False, "Requests cannot be sent here")},
)
async def readyz(request: Request[Any, Any, State], state: State) -> Response[Readiness]:
    """503 until the store answers, its migrations are done, the projections are near and JetStream syncs
    and stores; as of a second ago at the most. What is wrong with a part is told to the operator alone."""
    backend: Backend = state.backend
    said = await backend.parts.said()
    ready = all(word == WELL for word in said.values())
    principal: Principal | None = request.scope.get("user")
    is_told = principal is not None and (principal.role, principal.community) == (
        "operator",
        backend.community,
    )
    parts = {name: word if is_told or word == WELL else NOT_WELL for name, word in said.items()}
    return Response(Readiness(ready, parts), status_code=200 if ready else 503)


@get(
    "/metrics",
    may={"operator"},
    media_type=PROMETHEUS,
    tags=["Operations"],
    summary="Measurements for Prometheus",
)
async def metrics(request: Request[Any, Any, State], state: State) -> Response[bytes]:
    """Requests and receipts of this process; of the community: size of the book, lag of the projections,
    age of what was measured, recorded, settled and sealed last, quarantine, webhooks, witnesses, whether
    JetStream stores."""
    backend: Backend = state.backend
    measured: Metrics = state.metrics
    health = await read_health(backend.pool, backend.community)
    backlog = await backend.webhooks.store.backlog()
    witnesses = await read_witnesses(backend.pool, backend.community, backend.book.log.keys)
    is_stored = (await backend.parts.said())[JETSTREAM] == WELL
    text = measured.text(health, backlog, witnesses, backend.clock.now(), is_stored=is_stored)
    return Response(text, media_type=PROMETHEUS)
