"""For operators: what a past period would have come to under other rules."""

import asyncio

from litestar import Router, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.routes.operators import OPERATOR
from api.http.what_if_shapes import WhatIfRequest, WhatIfShape, what_if_shape
from api.what_if_process import Task, check_rules
from ledger.errors import BadInput
from ledger.postgres.lent import lent_store
from ledger.settings import Settings
from settlement.comparison_commands import Asked, known_span
from settlement.told_month import YEARS

DAYS_MAX = 31


class WrongPeriod(BadInput):
    """A period that cannot be settled again at once."""

    code = "wrong-period"


class NothingToTry(BadInput):
    """Neither mechanisms nor rules to be tried."""

    code = "nothing-to-try"


@post("/what-if", may=OPERATOR, status_code=200, summary="A past period under other rules")
async def what_if(state: State, data: JSONBody[WhatIfRequest]) -> WhatIfShape:
    """Settle up to 31 days again under other mechanisms or rules, beside what was published. Orders and
    agreements count as they did; nothing is written. One is settled at a time: 503 `what-if-busy` says
    when to ask again."""
    backend: Backend = state.backend
    if not (data.mechanisms or data.rules):
        raise NothingToTry("there is nothing to try", hint="name `mechanisms`, or give `rules`")
    if not all(day.year in YEARS for day in (data.begin, data.until)):
        raise WrongPeriod("there is no such day in any book", where="begin, until")
    if not 0 < (data.until - data.begin).days <= DAYS_MAX:
        raise WrongPeriod(
            f"these are not 1 to {DAYS_MAX} days", where="begin, until",
            hint="`until` is the day after the last one; settle a longer period a month at a time",
        )  # fmt: skip
    if data.rules:
        await asyncio.to_thread(check_rules, data.rules)
    orders: OrderDesk = state.desk
    book = await orders.book()
    async with lent_store(backend.pool) as store:
        await known_span(store, book, Asked(data.begin, data.until, (), data.mechanisms))
    settings = Settings(backend.book.community, postgres=backend.book.postgres)
    mechanisms: list[str] = list(dict.fromkeys(data.mechanisms))
    task = Task(settings, data.begin, data.until, mechanisms, data.rules)
    return what_if_shape(data, await backend.what_if.run(task))


router = Router("/", route_handlers=[what_if], tags=["Operators"])
