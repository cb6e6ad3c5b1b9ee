"""Where new intervals are settled: here, or where there are many, in a process beside this one."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Generic, Self, TypeVar

from ledger.workers import lost_workers_told, worker_pool
from settlement.batch import Batch, Drafting, Handed, Ready, handed_batch, is_worth_a_process, settled_batch

D = TypeVar("D")


class Bench(Generic[D]):
    """Settles batches of a run. What is put on it may be settled by and by, while others are written."""

    def __init__(self, drafted: Drafting[D], community: str, run: int, *, may_share: bool) -> None:
        self._settle = partial(settled_batch, drafted, community, run)
        self._settle_handed = partial(handed_batch, drafted, community, run)
        self._may_share = may_share
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:  # it may be at work still, and others here have not to wait for it
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def put(self, ready: Sequence[Ready], to_come: int) -> Batch[D] | Future[Batch[D]]:
        """Have intervals settled; so many batches will be put after them. Raises `WorkerLost`."""
        left = to_come * sum(len(each.facts.metered) for each in ready)
        if self._pool is None and self._may_share and is_worth_a_process(left):
            self._pool = worker_pool(1)
        if self._pool is None:
            return self._settle(ready)
        with lost_workers_told():
            return self._pool.submit(self._settle_handed, [*map(Handed.of, ready)])

    async def taken(self, batch: Batch[D] | Future[Batch[D]]) -> Batch[D]:
        """What was put, settled. Raises `WorkerLost`."""
        if isinstance(batch, Batch):
            return batch
        with lost_workers_told():
            return await asyncio.wrap_future(batch)
