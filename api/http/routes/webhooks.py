"""Webhooks of billing and operators: who is told of what, and what became of each message.

A webhook belongs to the role of the key that made it: billing sees those of billing, the operator all. Who is
told what is said at `ledger.webhooks`, how in the `webhooks` of the API's description.
"""

import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, cast

from litestar import Request, Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.http.backend import Backend
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.principal import Principal
from api.http.problems import NotAllowed, NotThere
from api.http.webhook_shapes import (
    DeliveryShape,
    DeliveryWhole,
    NewWebhook,
    WebhookSecret,
    WebhookShape,
    delivery_shape,
    webhook_shape,
)
from api.webhooks.sealing import Sealed
from api.webhooks.signing import new_secret
from ledger.access import Role
from ledger.errors import Contradiction
from ledger.webhooks import TOPICS, DeliveryState, Webhook, topics_for

OWNERS = frozenset({"billing", "operator"})
WEBHOOKS_MAX = 50
NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
NO_STORE = {"Cache-Control": "no-store"}
OVERLAP_HOURS_MAX = 7 * 24

Req = Request[Any, Any, State]
WebhookPath = Annotated[str, PathParameter(pattern=r"^wh_[0-9a-f]{16}\Z", description="The webhook's id.")]
DeliveryPath = Annotated[str, PathParameter(pattern=r"^msg_[0-9a-f]{32}\Z", description="The delivery's id.")]


class TooManyWebhooks(Contradiction):
    """A community has as many webhooks as it may have."""

    code = "too-many-webhooks"


class WebhookDisabled(Contradiction):
    """A webhook is told nothing until it is enabled."""

    code = "webhook-disabled"


class RotatedMeanwhile(Contradiction):
    """Somebody else replaced the secret of this webhook at the same time."""

    code = "rotated-meanwhile"


def _asker(request: Req) -> Principal:
    return cast(Principal, request.scope["user"])  # the guard let it through


def _roles(request: Req) -> tuple[Role, ...]:
    """Whose webhooks somebody sees."""
    return ("billing", "operator") if _asker(request).role == "operator" else ("billing",)


async def _found(request: Req, name: str) -> Webhook:
    backend: Backend = request.app.state.backend
    found = await backend.webhooks.store.webhook(name)
    if found is None or found.role not in _roles(request):
        raise NotThere("there is no such webhook", where=name)
    return found


@get("/webhooks", may=OWNERS, summary="Webhooks")
async def webhooks(request: Req, state: State, limit: Limit = 100, after: Cursor = "") -> Page[WebhookShape]:
    """Who is told of what, by their ids. Billing sees its own, the operator all."""
    backend: Backend = state.backend
    read = partial(backend.webhooks.store.webhooks, roles=_roles(request))
    return await page_of(after, limit, ("",), read, webhook_shape, lambda row: (row.webhook,))


@post("/webhooks", may=OWNERS, summary="Be told of what comes into the book")
async def create(request: Req, state: State, data: JSONBody[NewWebhook]) -> Response[WebhookSecret]:
    """From now on each event of these topics is POSTed to the address, signed by the secret that is shown
    this once; the part `webhooks` of this document tells how. Each is told at least once, under the same
    `webhook-id` at every try, in no certain order; answer with 2xx to take it, with 410 to be told nothing
    more. What is not taken is tried again for three days. 422 `outgoing-refused` for an address that is not
    asked."""
    backend: Backend = state.backend
    asker, parts, now = _asker(request), backend.webhooks, backend.clock.now()
    topics = [topic for topic in TOPICS if topic in data.topics]
    if beyond := set(topics) - set(topics_for(asker.role)):
        raise NotAllowed(f"a key of role {asker.role} may not be told of {', '.join(sorted(beyond))}")
    target = parts.outgoing.check(data.url)
    name, secret = f"wh_{secrets.token_hex(8)}", new_secret()
    made = Webhook(
        name, asker.role, asker.prefix, data.label, target.origin, topics,
        parts.seal.close(name, Sealed(data.url, secret)), now,
    )  # fmt: skip
    if not await parts.store.add(made, WEBHOOKS_MAX):
        raise TooManyWebhooks(f"a community has at most {WEBHOOKS_MAX} webhooks", hint="delete one")
    return Response(WebhookSecret(webhook_shape(made), secret), status_code=201, headers=NO_STORE)


@get("/webhooks/{webhook:str}", may=OWNERS, summary="A webhook")
async def one(request: Req, webhook: WebhookPath) -> WebhookShape:
    """Whether it is told, and since when it takes nothing."""
    return webhook_shape(await _found(request, webhook))


@delete("/webhooks/{webhook:str}", may=OWNERS, summary="Tell it nothing more", status_code=204)
async def remove(request: Req, state: State, webhook: WebhookPath) -> None:
    """Forget the webhook with all its deliveries. What is being sent right now still arrives."""
    backend: Backend = state.backend
    await _found(request, webhook)
    await backend.webhooks.store.delete(webhook)


@post(
    "/webhooks/{webhook:str}/rotate",
    may=OWNERS,
    summary="Replace its secret",
    status_code=200,
)
async def rotate(
    request: Req,
    state: State,
    webhook: WebhookPath,
    overlap_hours: Annotated[
        int,
        QueryParameter(
            ge=0,
            le=OVERLAP_HOURS_MAX,
            description="For so long the secret before counts too; 0 if it is known.",
        ),
    ] = 24,
) -> Response[WebhookSecret]:
    """A new secret, shown this once. For `overlap_hours` every message has two signatures, of the new and of
    the old one, so a receiver that is given the new one meanwhile misses nothing."""
    backend: Backend = state.backend
    parts, now, before = backend.webhooks, backend.clock.now(), await _found(request, webhook)
    held, secret = parts.seal.open(webhook, before.sealed), new_secret()
    until = now + timedelta(hours=overlap_hours)
    sealed = Sealed(held.url, secret, held.secret, until) if overlap_hours else Sealed(held.url, secret)
    if not await parts.store.reseal(before, parts.seal.close(webhook, sealed), now):
        raise RotatedMeanwhile("its secret was replaced meanwhile", where=webhook, hint="see who did so")
    shape = webhook_shape(before._replace(rotated_at=now))
    return Response(
        WebhookSecret(shape, secret, until if overlap_hours else None), status_code=200, headers=NO_STORE
    )


@post("/webhooks/{webhook:str}/enable", may=OWNERS, summary="Tell it again", status_code=200)
async def enable(request: Req, state: State, webhook: WebhookPath) -> WebhookShape:
    """What came into the book while it was disabled is told too, and what waited is tried at once."""
    backend: Backend = state.backend
    await _found(request, webhook)
    await backend.webhooks.store.enable(webhook, backend.clock.now())
    backend.webhooks.wake.set()
    return webhook_shape(await _found(request, webhook))


@post("/webhooks/{webhook:str}/ping", may=OWNERS, summary="Try it", status_code=202)
async def ping(request: Req, state: State, webhook: WebhookPath) -> DeliveryShape:
    """Send a message of type `ping`, once, also to a webhook that is disabled. Ask for the delivery to see
    what became of it."""
    backend: Backend = state.backend
    parts, now = backend.webhooks, backend.clock.now()
    await _found(request, webhook)
    delivery = await parts.store.ping(webhook, parts.telling.ping(webhook, now), now)
    parts.wake.set()
    return (await _delivery(state, webhook, delivery)).delivery


# --- deliveries ----------------------------------------------------------------------------------------


@get("/webhooks/{webhook:str}/deliveries", may=OWNERS, summary="What it was told, the newest first")
async def deliveries(
    request: Req,
    state: State,
    webhook: WebhookPath,
    only: Annotated[
        str,
        QueryParameter(
            pattern=r"^(waiting|delivered|failed)?\Z",
            description="Those in one state: waiting, delivered, failed.",
        ),
    ] = "",
    limit: Limit = 100,
    after: Cursor = "",
) -> Page[DeliveryShape]:
    """Messages with what became of each. What has come to an end is kept for 90 days."""
    backend: Backend = state.backend
    await _found(request, webhook)
    read = partial(
        backend.webhooks.store.deliveries, name=webhook, state=cast(DeliveryState, only) if only else None
    )
    return await page_of(
        after, limit, (NEWEST, ""), read, delivery_shape, lambda row: (row.created_at, row.delivery)
    )


@get("/webhooks/{webhook:str}/deliveries/{delivery:str}", may=OWNERS, summary="A message and its body")
async def delivery(request: Req, state: State, webhook: WebhookPath, delivery: DeliveryPath) -> DeliveryWhole:
    """The body is exactly what was sent."""
    await _found(request, webhook)
    return await _delivery(state, webhook, delivery)


@post(
    "/webhooks/{webhook:str}/deliveries/{delivery:str}/redeliver", may=OWNERS, summary="Tell it again",
    status_code=202,
)  # fmt: skip
async def redeliver(
    request: Req, state: State, webhook: WebhookPath, delivery: DeliveryPath
) -> DeliveryShape:
    """Send a message again under the same `webhook-id`, whatever became of it, and try again for three days
    if need be. 409 `webhook-disabled` for a webhook that is told nothing."""
    backend: Backend = state.backend
    found = await _found(request, webhook)
    if found.disabled_at is not None:
        raise WebhookDisabled("this webhook is disabled", where=webhook, hint="enable it first")
    await backend.webhooks.store.redeliver(webhook, delivery, backend.clock.now())
    backend.webhooks.wake.set()
    return (await _delivery(state, webhook, delivery)).delivery


async def _delivery(state: State, webhook: str, delivery: str) -> DeliveryWhole:
    backend: Backend = state.backend
    found = await backend.webhooks.store.delivery(webhook, delivery)
    if found is None:
        raise NotThere("there is no such delivery", where=delivery)
    return DeliveryWhole(delivery_shape(found[0]), found[1].decode())


router = Router(
    "/",
    route_handlers=[
        webhooks, create, one, remove, rotate, enable, ping, deliveries, delivery, redeliver,
    ],
    tags=["Webhooks"],
)  # fmt: skip
