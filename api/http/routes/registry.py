"""For operators: who and what takes part, as the book has it, and how that is changed.

What is written is an event of the book for ever. `dry_run` tells what would change, and writes nothing. With
an Idempotency-Key a request may be sent again.
"""

from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, RequestBody

from api.http.backend import Backend
from api.http.caching import told
from api.http.operator_shapes import RegistryShape, registry_shape
from api.http.registry_desk import RegistryDesk
from api.http.registry_shapes import EpochsShape, MeterEnd, NewEpoch, NewRegistry, RegistryAnswer
from api.http.routes.market import DryRun
from ledger.postgres.inspection import Inspection

OPERATOR = frozenset({"operator"})
NOTHING = {200: ResponseSpec(RegistryAnswer, False, "Nothing was written")}

Req = Request[Any, Any, State]
MeterPath = Annotated[str, PathParameter(description="The meter's name in the book.")]


def _desk(state: State) -> RegistryDesk:
    return RegistryDesk(state.backend, state.desk)


def _answer(found: RegistryAnswer) -> Response[RegistryAnswer]:
    return Response(found, status_code=201 if found.published else 200)


@get("/", may=OPERATOR, has_etag=True, summary="Feeders, buildings, meters and devices")
async def registry(request: Req, state: State) -> Response[RegistryShape]:
    """Who and what takes part, with each meter's reader and how far it was read: what was written a moment
    ago follows in a moment."""
    backend: Backend = state.backend
    return told(request, registry_shape(await Inspection(backend.pool, backend.community).registry()))


@post("/", may=OPERATOR, status_code=201, summary="Add feeders, buildings and meters", responses=NOTHING)
async def register(
    state: State, data: RequestBody[NewRegistry], dry_run: DryRun = False
) -> Response[RegistryAnswer]:
    """Bring in what is new, and what has changed: a name, the feeder of a building, the rating of a meter,
    the device that reads it. All of it is in the book, or nothing. 201 once it is; 200 for a dry run, and
    where the book says the same. 409 `contradiction` for a building on a feeder that there is not, a device
    that is not enrolled, and for a meter that would be another building's or count for another time than it
    did: what takes its place has a name of its own. A start with a settings file that says other undoes
    nothing of it, until the file asks for something new. A building that hangs on another feeder counts
    there in all that is settled from then on, also where the past is settled again."""
    return _answer(await _desk(state).register(data, dry_run=dry_run))


@post(
    "/meters/{meter:str}/retire", may=OPERATOR, status_code=201, summary="Retire a meter", responses=NOTHING
)
async def retire(
    state: State, meter: MeterPath, data: RequestBody[MeterEnd], dry_run: DryRun = False
) -> Response[RegistryAnswer]:
    """Let a meter no longer count for its building from an instant on; what was settled after that is settled
    again. Its chain stays, and can be continued. 200 where it was retired then already, 409 `contradiction`
    where it has ended earlier; an end that is still to come can be moved."""
    return _answer(await _desk(state).retire(meter, data, dry_run=dry_run))


@post(
    "/meters/{meter:str}/epochs", may=OPERATOR, status_code=201,
    summary="Let a meter's registers start anew", responses=NOTHING,
)  # fmt: skip
async def open_epoch(
    state: State, meter: MeterPath, data: RequestBody[NewEpoch], dry_run: DryRun = False
) -> Response[RegistryAnswer]:
    """For a meter that was replaced or reset, whose transformers were changed, or whose registers wrapped: no
    energy is made up from the jump. Readings that do not fit those before them are held until then. 200 where
    the same was said already, 409 `contradiction` for an instant whose readings count already."""
    return _answer(await _desk(state).open_epoch(meter, data, dry_run=dry_run))


@get("/meters/{meter:str}/epochs", may=OPERATOR, has_etag=True, summary="How a meter's registers began anew")
async def epochs(request: Req, state: State, meter: MeterPath) -> Response[EpochsShape]:
    """From when on its registers started anew, as operators have told."""
    return told(request, await _desk(state).epochs(meter))


router = Router(
    "/registry", route_handlers=[registry, register, retire, open_epoch, epochs], tags=["Operators"]
)
