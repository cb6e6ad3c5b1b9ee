"""For devices that reach the ledger over HTTP: Wi-Fi and NB-IoT meters that sign what they measure.

A device's life: the operator gives out a token for it; the device makes its key and enrols it by the token;
it asks where its chains go on, and sends envelopes until it holds the ledger's signed receipt for each. It
goes on with another key by an envelope too: an event `key-rotated/1` in its stream `device/NAME`, signed
with the key in use, holding the new key and that key's proof of possession. From then on only the new key
counts. The operator revokes what was stolen.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.exceptions import ClientException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, JSONBody

from api.http.access_log import HAS_DONE
from api.http.backend import Backend
from api.http.caching import told
from api.http.desk import OrderDesk
from api.http.guard import PUBLIC
from api.http.metrics import Metrics
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.principal import Principal
from api.http.problems import BY_CODE, NotAllowed, NotKnown, NotThere
from ledger.access import new_key, parts
from ledger.canonical import UNREADABLE, Malformed
from ledger.enrolment import DeviceRole, EnrolmentToken, TokenInvalid, check_enrolment
from ledger.entry import is_name, stream_kind
from ledger.errors import Contradiction
from ledger.event import Name, Role, Text
from ledger.events import KeyEnrolled, KeyRevoked
from ledger.keys import key_id
from ledger.postgres.devices import DeviceRow, DeviceStore, find_token, has_enrolled, use_token
from ledger.registry import Registry

JSON = "application/json"
ENVELOPE_BYTES_MAX = 1024 * 1024
ENROLMENT_BYTES_MAX = 16 * 1024
RETRY_SECONDS = 10
HOURS_MAX = 24 * 31
SEES_ALL = frozenset({"operator", "auditor"})
OF_DEVICES = frozenset({"device", "meter"})
"""Streams whose heads anybody may know."""

Req = Request[Any, Any, State]


class DeviceShape(msgspec.Struct, frozen=True):
    """A device; it has no key while that is revoked. `position` is where in the book that stands."""

    device: str
    role: Role
    public_key: str | None
    key: str | None
    position: int


class Kept(msgspec.Struct, frozen=True):
    """The envelope, named by its SHA-256, is kept and will be answered. Send the same bytes again later to
    hear how: that is harmless, and the answer is then `duplicate` where it was recorded meanwhile."""

    envelope: str
    status: str = "kept"


class TokenWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For which device, in which role, and for how many hours."""

    device: Name
    role: DeviceRole
    hours: Annotated[int, msgspec.Meta(ge=1, le=HOURS_MAX)] = 24


class TokenGiven(msgspec.Struct, frozen=True):
    """A one-time token, shown this once."""

    token: str
    device: str
    role: DeviceRole
    expires_at: datetime


class EnrolmentWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token, and the request that `energy-ledger device request` prints on the device."""

    token: Annotated[str, msgspec.Meta(max_length=100)]
    request: KeyEnrolled


class Enrolled(msgspec.Struct, frozen=True):
    """The key is in the book. `service_key` is the ledger's own, which receipts are checked with."""

    community: str
    device: str
    role: Role
    key: str
    service_key: str


class RevocationWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it stays in the book."""

    reason: Text


class Revoked(msgspec.Struct, frozen=True):
    """A key that no longer counts."""

    device: str
    key: str


RECEIPTS = {
    200: ResponseSpec(dict[str, Any], False, "The receipt: every event is in the book"),
    202: ResponseSpec(Kept, False, "The envelope is kept and not decided yet"),
    403: ResponseSpec(dict[str, Any], False, "The receipt: the signer may not"),
    409: ResponseSpec(dict[str, Any], False, "The receipt: the book goes on elsewhere or says otherwise"),
    422: ResponseSpec(dict[str, Any], False, "The receipt, or a problem: the envelope itself is wrong"),
}


class _Addressed(msgspec.Struct, frozen=True):
    """What of an envelope is needed to hand it on."""

    device: Name


_decode_addressed = msgspec.json.Decoder(_Addressed).decode


@dataclass
class _EnvelopeOperation(Operation):
    """Tells of the body, which the handler reads as bytes."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            content={JSON: OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))},
            description="A signed envelope in canonical JSON.",
            required=True,
        )


@post(
    "/envelopes", may=PUBLIC, problems={415}, status_code=200, media_type=JSON, tags=["Devices"],
    request_max_body_size=ENVELOPE_BYTES_MAX, operation_class=_EnvelopeOperation, responses=RECEIPTS,
    summary="Send a signed envelope",
)  # fmt: skip
async def envelopes(request: Req, state: State) -> Response[bytes]:
    """A device's envelope, whose signature is the credential, so it needs no key. Its bytes are kept as sent,
    one MiB at most.

    The answer is the ledger's signed receipt: 200 where every event is in the book (`recorded`, `duplicate`);
    409 where the chain does not go on from there (`chain-broken`, `sequence-gap`, `fork`: the receipt tells
    the heads) or the book says otherwise; 403 where the signer may not (`bad-signature`, `unknown-device`,
    `key-revoked`, `not-permitted`); 422 where the envelope itself is wrong. Bytes that name no device are
    answered with a problem and no receipt. 202 says that the envelope is kept and not decided yet; after
    that, and after 503, send the same bytes again: twice is harmless. What is in the book is `duplicate` for
    ever, also when the key that signed it was rotated or revoked since: `key-revoked` says that not all is.
    """
    backend: Backend = state.backend
    if request.content_type[0] != JSON:
        raise ClientException("an envelope is sent as application/json", status_code=415)
    data = await request.body()
    try:
        device = _decode_addressed(data).device
    except UNREADABLE as error:
        raise Malformed(f"this is not an envelope: {error}") from error
    received = await backend.envelopes.take(_address(request), device, data)
    if received is None:
        kept = msgspec.json.encode(Kept(sha256(data).hexdigest()))
        return Response(kept, status_code=202, media_type=JSON, headers={"Retry-After": str(RETRY_SECONDS)})
    answer, receipt = received
    measured: Metrics = state.metrics
    measured.receipt(answer.code)
    status = 200 if answer.is_safe else BY_CODE.get(answer.code, 422)
    return Response(receipt, status_code=status, media_type=JSON)


@get(
    "/{device:str}/heads", may=PUBLIC, problems={403}, media_type=JSON,
    summary="Where a device's chains go on",
)  # fmt: skip
async def heads(request: Req, state: State, device: FromPath[str]) -> Response[bytes]:
    """The signed heads of the streams that a device continues, for one that lost its memory.

    Heads of a gateway or a meter need no key: they tell how many readings there are and hashes that are
    salted, and a device that has lost all can ask for them. Heads of who writes for buildings tell how many
    orders each has placed: they are for the building itself, the operator and auditors.
    """
    backend: Backend = state.backend
    answer, receipt = await backend.envelopes.heads(_named(device))
    if not answer.heads:
        raise NotThere("no such device is enrolled", where=device)
    if not OF_DEVICES.issuperset(stream_kind(head.stream) for head in answer.heads):
        _check_sees(request.scope.get("user"), backend.community, device)
    return Response(receipt, media_type=JSON)


def _check_sees(principal: Principal | None, community: str, device: str) -> None:
    """Whether somebody may know the heads of who writes for buildings."""
    if principal is None:
        raise NotKnown("the heads of this device need a key", where=device)
    own = principal.building if principal.role == "building" else device
    if principal.community != community or principal.role == "billing" or own != device:
        raise NotAllowed("this key may not see the heads of this device", where=device)


@post("/tokens", may={"operator"}, summary="Give out a token that enrols a device")
async def give_token(state: State, data: JSONBody[TokenWanted]) -> Response[TokenGiven]:
    """A token for one device and one role, by which it enrols its key without the operator at hand. It is
    shown in this answer only. Another token for the same device withdraws this one."""
    backend: Backend = state.backend
    store = DeviceStore(backend.pool, backend.community)
    known = await store.device(data.device)
    if known is not None and known.public_key is not None:
        raise Contradiction(
            "the device has a key", where=data.device, hint="revoke it first, or let the device rotate it"
        )
    key, now = new_key(), backend.clock.now()
    until = now + timedelta(hours=data.hours)
    await store.give_out(
        EnrolmentToken(key.prefix, key.digest, backend.community, data.device, data.role, now, until)
    )
    given = TokenGiven(key.token, data.device, data.role, until)
    return Response(given, headers={"Cache-Control": "no-store"})


@post("/enrol", may=PUBLIC, request_max_body_size=ENROLMENT_BYTES_MAX, summary="Enrol a device by its token")
async def enrol(request: Req, state: State, data: JSONBody[EnrolmentWanted]) -> Enrolled:
    """Writes a device's key into the book, in the operator's name, and uses the token up. The request proves
    that the device holds the key: it signs `energy-ledger/possession/v1`, community, device and public key,
    each a line. The same request again is answered again; another key needs another token."""
    backend: Backend = state.backend
    store = DeviceStore(backend.pool, backend.community)
    split = parts(data.token)
    if split is None:
        raise TokenInvalid("this is not the form of a token", hint="it looks like PREFIX.SECRET")
    prefix, secret = split
    event, community, clock = data.request, backend.community, backend.clock
    # Nobody takes a turn, which buildings' orders wait for as well, who does not hold a token.
    token = check_enrolment(await store.token(prefix), secret, community, event, clock.now())
    if token.used_at is None:
        async with backend.operator.turn("registry") as turn:
            found = await find_token(turn.connection, prefix)
            token = check_enrolment(found, secret, community, event, clock.now())
            if token.used_at is None:
                if not await has_enrolled(turn.connection, prefix, event):
                    orders: OrderDesk = state.desk
                    (await orders.book_by(turn.connection)).registry.apply(event)
                    await turn.append(event)
                await use_token(turn.connection, prefix, event.public_key, clock.now())
                request.scope["state"][HAS_DONE] = True
    return Enrolled(
        community, event.device, event.role, key_id(bytes.fromhex(event.public_key)),
        backend.ledger.service.public.bytes.hex(),
    )  # fmt: skip


@post("/{device:str}/revoke", may={"operator"}, status_code=200, summary="Revoke a device's key")
async def revoke(state: State, device: FromPath[str], data: JSONBody[RevocationWanted]) -> Revoked:
    """From this point of the book on nothing that the device signs is taken, and no token enrols it anew but
    one that is given out later."""
    backend: Backend = state.backend
    orders: OrderDesk = state.desk
    _revocation((await orders.book()).registry, _named(device), data.reason)
    await DeviceStore(backend.pool, backend.community).withdraw(device, backend.clock.now())
    async with backend.operator.turn("registry") as turn:
        event = _revocation((await orders.book_by(turn.connection)).registry, device, data.reason)
        await turn.append(event)
    return Revoked(device, event.key)


def _revocation(registry: Registry, device: str, reason: str) -> KeyRevoked:
    """What revokes a device's key, taken in by a registry that is nobody else's. Raises `NotThere` and
    `Contradiction` where the book would not take it."""
    known = registry.devices.get(device)
    if known is None:
        raise NotThere("no such device is enrolled", where=device)
    if known.key is None:
        raise Contradiction("the device has no key: it was revoked", where=device)
    event = KeyRevoked(device=device, key=known.key.id, reason=reason)
    registry.apply(event)
    return event


@get("", may=SEES_ALL, has_etag=True, summary="Devices by name")
async def devices(
    request: Req, state: State, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[DeviceShape]]:
    """All devices: role, public key, and since where in the book that counts."""
    backend: Backend = state.backend
    store = DeviceStore(backend.pool, backend.community)
    page = await page_of(after, limit, ("",), store.devices, _shape, lambda row: (row.device,))
    return told(request, page)


@get("/{device:str}", may=SEES_ALL, has_etag=True, summary="A device")
async def device_of(request: Req, state: State, device: FromPath[str]) -> Response[DeviceShape]:
    """Its role, public key, and since where in the book that counts."""
    backend: Backend = state.backend
    row = await DeviceStore(backend.pool, backend.community).device(_named(device))
    if row is None:
        raise NotThere("no such device is enrolled", where=device)
    return told(request, _shape(row))


def _named(device: str) -> str:
    """The name, if the book allows it. Raises `NotThere`."""
    if not is_name(device):
        raise NotThere("this is not the name of a device", where=device[:80])
    return device


def _shape(row: DeviceRow) -> DeviceShape:
    key = key_id(bytes.fromhex(row.public_key)) if row.public_key else None
    return DeviceShape(row.device, row.role, row.public_key, key, row.position)


def _address(request: Req) -> str:
    return request.client.host if request.client else ""


router = Router(
    "/devices", route_handlers=[heads, give_token, enrol, revoke, devices, device_of], tags=["Devices"]
)
