"""Runs a what-if beside the requests: one at a time, in a process that ends with whoever asked for it."""

from typing import Any

import msgspec

from api import what_if_process
from api.what_if_process import Outcome, Task
from ledger.embedded.aside import work_aside
from ledger.errors import BadInput, Damaged, LedgerError, Unavailable

SECONDS_MAX = 40.0
"""Less than what a request with an Idempotency-Key is given: it would be broken off every time."""
_KINDS: dict[int, type[LedgerError]] = {kind.exit_code: kind for kind in (BadInput, Unavailable, Damaged)}


class WhatIfBusy(Unavailable):
    """Another what-if is being settled."""

    code = "what-if-busy"


class WhatIf:
    """One a process."""

    def __init__(self) -> None:
        self._is_busy = False

    async def run(self, task: Task) -> dict[str, Any]:
        """What came out. Raises `WhatIfBusy`, `TakesTooLong`, and with its own code what settling raises."""
        if self._is_busy:
            raise WhatIfBusy("another what-if is being settled", hint="try again in a moment")
        self._is_busy = True
        try:
            said = await work_aside(what_if_process.__name__, msgspec.json.encode(task), SECONDS_MAX)
        finally:
            self._is_busy = False
        outcome = msgspec.json.decode(said, type=Outcome)
        if (failure := outcome.failure) is not None:
            kind = _KINDS.get(failure.exit_code, Damaged)
            error = kind(failure.what, where=failure.where, hint=failure.hint)
            error.code = failure.code
            raise error
        assert outcome.answer is not None  # noqa: S101 - one of both
        return outcome.answer
