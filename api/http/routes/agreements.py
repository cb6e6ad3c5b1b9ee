"""For a building: what it has agreed on with one neighbour, at a fixed price and before all other trade.

One proposes, the other accepts, either ends it. An agreement goes by its proposer and the name that the
proposer gave it. Only its two parties see it.
"""

from collections.abc import Iterator
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter, RequestBody

from api.http.caching import told
from api.http.desk import Written, made_name
from api.http.desk_requests import (
    AGAIN,
    OWNERS,
    Req,
    currency_of,
    desk_at,
    paged,
    price_told,
    write,
)
from api.http.known_building import BuildingPath
from api.http.order_shapes import (
    AgreementEnd,
    AgreementShape,
    AgreementWritten,
    AgreementYes,
    NewAgreement,
    agreement_shape,
    in_book,
)
from api.http.pages import Cursor, Limit, Page
from ledger.market_events import AgreementAccepted, AgreementEnded, AgreementProposed
from settlement.order_book import BookedAgreement, Key
from settlement.order_rows import AgreementState, agreement_row, agreement_state
from settlement.ordering import Desk, UnknownAgreement

AgreementPath = Annotated[str, PathParameter(description="The agreement's name, as its proposer gave it.")]
Standing = Annotated[
    AgreementState | None, QueryParameter(name="state", description="Those that stand so now.")
]
Proposer = Annotated[
    str | None,
    QueryParameter(max_length=64, description="Which building proposed it, if not the one of the path."),
]


@get("/", may=OWNERS, has_etag=True, summary="Agreements")
async def agreements(
    request: Req,
    state: State,
    building: BuildingPath,
    standing: Standing = None,
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[AgreementShape]]:
    """What the building proposed or was proposed, and what came of it, by when it was to begin."""
    desk, currency = await desk_at(state, building), currency_of(state)

    def behind(key: Key) -> Iterator[BookedAgreement]:
        rest = desk.orders.agreements_after(building, key)
        return (each for each in rest if standing in (None, agreement_state(each, desk.now)))

    def shape(each: BookedAgreement) -> AgreementShape:
        return agreement_shape(agreement_row(each, desk.now), currency)

    return told(request, await paged(after, limit, behind, shape))


@get("/{agreement:str}", may=OWNERS, has_etag=True, summary="An agreement")
async def agreement(
    request: Req,
    state: State,
    building: BuildingPath,
    agreement: AgreementPath,
    proposer: Proposer = None,
) -> Response[AgreementShape]:
    """How it stands. One between others is not found."""
    desk = await desk_at(state, building)
    known = _known(desk, building, proposer or building, agreement)
    return told(request, agreement_shape(agreement_row(known, desk.now), currency_of(state)))


@post("/", may=OWNERS, status_code=201, summary="Propose an agreement")
async def propose(
    request: Req, state: State, building: BuildingPath, data: RequestBody[NewAgreement]
) -> Response[AgreementWritten]:
    """Offer a neighbour a fixed price. It holds once that has accepted, and not before.

    Of those that a building has proposed, at most 50 with one partner and 500 in all have not ended
    (`too-many-agreements`); it writes so many events a day as the operator has set (`too-many-events`).
    """

    def made(desk: Desk, salt: str) -> AgreementProposed:
        price = price_told(data.price, data.price_micro_per_kwh, "price")
        name, span = data.agreement or made_name("agreement", salt), (data.begin, data.until)
        return desk.proposed(building, name, data.side, data.partner, price, data.energy_wh, span)

    written = await write(request, state, building, made)
    answer = _answer(state, building, written, 201)
    answer.headers["Location"] = f"{request.url.path.rstrip('/')}/{answer.content.agreement.agreement}"
    return answer


@post("/{agreement:str}/accept", may=OWNERS, status_code=200, summary="Accept an agreement")
async def accept(
    request: Req,
    state: State,
    building: BuildingPath,
    agreement: AgreementPath,
    data: RequestBody[AgreementYes],
) -> Response[AgreementWritten]:
    """Agree to what a neighbour proposed to this building."""
    written = await write(
        request, state, building,
        lambda desk, _: desk.accepted(building, agreement, data.proposer, data.since),
    )  # fmt: skip
    return _answer(state, building, written, 200)


@post("/{agreement:str}/end", may=OWNERS, status_code=200, summary="End an agreement")
async def end(
    request: Req,
    state: State,
    building: BuildingPath,
    agreement: AgreementPath,
    data: RequestBody[AgreementEnd],
) -> Response[AgreementWritten]:
    """End it, or take a proposal back. Either side may."""
    written = await write(
        request, state, building,
        lambda desk, _: desk.ended(building, agreement, data.proposer or building, data.since),
    )  # fmt: skip
    return _answer(state, building, written, 200)


def _answer(state: State, building: str, written: Written, status: int) -> Response[AgreementWritten]:
    event, desk = written.event, written.desk
    assert isinstance(event, AgreementProposed | AgreementAccepted | AgreementEnded)  # noqa: S101 - made above
    proposer = building if isinstance(event, AgreementProposed) else event.proposer
    known = _known(desk, building, proposer, event.agreement)
    shape = agreement_shape(agreement_row(known, desk.now), currency_of(state))
    return Response(
        AgreementWritten(shape, in_book(written)),
        status_code=status,
        headers=AGAIN if written.was_there else {},
    )


def _known(desk: Desk, building: str, proposer: str, name: str) -> BookedAgreement:
    known = desk.orders.agreement(proposer, name)
    if known is None or building not in (known.proposer, known.proposed.partner):
        raise UnknownAgreement(
            "there is no such agreement of this building", where=name[:80], hint="list them to see all"
        )
    return known


router = Router(
    "/buildings/{building:str}/agreements",
    route_handlers=[agreements, agreement, propose, accept, end],
    tags=["Agreements"],
)
