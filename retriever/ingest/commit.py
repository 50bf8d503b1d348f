"""Writing documents: concurrent changes to one collection share a transaction (group commit).

While one transaction runs, what arrives for the same collection waits and goes together in the next: under load a
commit costs a few milliseconds for many documents, and without load nobody waits for company. Collections do not wait
for each other. A caller that gives up leaves the batch if it has not begun; a transaction that runs is carried to its
end.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from chassis.budget import Budget, Clock
from chassis.errors import CollectionNotFound, Conflict, DeadlineExceeded, InternalError, RagError, ShuttingDown
from chassis.logs import failure_fields
from retriever.ingest.changes import Change, Delete, PreparedDocument, Put, Result
from retriever.ingest.transactions import Sleep, Stores, Transactions
from retriever.types import PutResult

__all__ = ["Committer", "PreparedDocument", "Stores"]

logger = logging.getLogger(__name__)

MAX_BATCH_DOCUMENTS: Final = 64  # a commit costs about 5 ms whatever it holds: 64 make that negligible
MAX_BATCH_CHUNKS: Final = 1_024  # some 100 ms of indexing: longer would keep deletes and small documents waiting
MAX_PENDING: Final = 256  # documents held for all collections; more wait at the door, within their budgets
TRANSACTION_LIMIT_S: Final = 60.0  # half of what the janitor takes for dead


def utc_now() -> datetime:
    """The wall clock, for records; never for order or expiry."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Change
    budget: Budget
    result: asyncio.Future[Result]

    @property
    def chunk_count(self) -> int:
        return len(self.change.document.drafts) if isinstance(self.change, Put) else 0


class Committer:
    """Puts, deletes and drops, by collection. An async context manager: leaving it lets running transactions finish."""

    def __init__(
        self,
        stores: Stores,
        *,
        owner: str,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._transactions = Transactions(stores, owner=owner, now=now, sleep=sleep)
        self._queues: dict[tuple[str, str], deque[_Waiting]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(MAX_PENDING)
        self._is_closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        for waiting in (each for queue in self._queues.values() for each in queue):
            _answer(waiting, ShuttingDown("the server is stopping; send the document again", retry_after_s=1.0))
        if self._workers:
            await asyncio.wait(self._workers)

    async def put(self, tenant: str, collection: str, document: PreparedDocument, *, budget: Budget) -> PutResult:
        """Store a document, replacing the visible one with its id; durable and visible when it returns.

        Returns:
            STORED, or UNCHANGED when the visible version has the same content hash.
        Raises:
            MetadataConflict, EmbedderUnavailable: the document does not fit the collection.
            StorageFull, CatalogueUnavailable, SearchUnavailable, Conflict: nothing was changed.
            DeadlineExceeded: not in time; it may still be stored.
        """
        result = await self._submit((tenant, collection), Put(document), budget)
        assert isinstance(result, PutResult)
        return result

    async def delete(self, tenant: str, collection: str, document_id: str, *, budget: Budget) -> int:
        """Remove a document; returns the generation from which it is invisible.

        Raises:
            CollectionNotFound, DocumentNotFound, and what `put` raises of the stores.
        """
        result = await self._submit((tenant, collection), Delete(document_id), budget)
        assert isinstance(result, int)
        return result

    async def drop_collection(self, tenant: str, collection: str, *, budget: Budget) -> None:
        """Remove a collection: its head first, which ends its visibility, then its data.

        Raises:
            CollectionNotFound: there is none.  BackendUnavailable: its head is gone or untouched, data may be left.
        """
        heads = self._stores.heads
        while True:
            head = await heads.get(tenant, collection, budget=budget)
            if head is None or head.snapshot.generation == 0:
                raise CollectionNotFound(f"there is no collection {collection!r}", metadata={"collection": collection})
            try:
                await heads.remove(head, budget=budget)
                break
            except Conflict:
                budget.check("delete collection")
        for uid in head.uids:
            await self._stores.drop(tenant, uid, budget=budget)

    async def _submit(self, key: tuple[str, str], change: Change, budget: Budget) -> Result:
        budget.check("write")
        try:
            async with asyncio.timeout(budget.remaining_s()), self._places:
                if self._is_closing:
                    raise ShuttingDown("the server is stopping; send the document again", retry_after_s=1.0)
                waiting = _Waiting(change, budget, asyncio.get_running_loop().create_future())
                self._enqueue(key, waiting)
                result = await waiting.result
        except TimeoutError:
            raise DeadlineExceeded("write: the deadline passed; it may still be carried out") from None
        if isinstance(result, RagError):
            raise result
        return result

    def _enqueue(self, key: tuple[str, str], waiting: _Waiting) -> None:
        if key in self._queues:
            self._queues[key].append(waiting)
            return
        self._queues[key] = deque([waiting])
        worker = asyncio.create_task(self._work(key), name="group-commit")
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self, key: tuple[str, str]) -> None:
        """Commit batch after batch until nobody waits; the queue's existence is what says that a worker lives."""
        queue = self._queues[key]
        try:
            while batch := take_batch(queue):
                await self._commit(key, batch)
        finally:
            del self._queues[key]
            for waiting in queue:  # only a bug of ours gets here with somebody waiting
                _answer(waiting, InternalError("the write was lost; send it again"))

    async def _commit(self, key: tuple[str, str], batch: list[_Waiting]) -> None:
        latest = max(waiting.budget.deadline for waiting in batch)
        budget = Budget(latest, self._clock).within(TRANSACTION_LIMIT_S)
        results: list[Result] = [InternalError("the write was lost; send it again")] * len(batch)
        try:
            changes = [waiting.change for waiting in batch]
            results = await self._transactions.run(key[0], key[1], changes, budget=budget)
        except RagError as error:
            logger.warning("a write failed", extra={"reason": error.reason, "documents": len(batch)})
            results = [error] * len(batch)
        except Exception as error:  # noqa: BLE001  # a bug of ours: no caller's task would ever see it
            logger.error("a write failed inside", extra={"documents": len(batch), **failure_fields(error)})
        finally:
            for waiting, result in zip(batch, results, strict=True):
                _answer(waiting, result)


def take_batch(queue: deque[_Waiting]) -> list[_Waiting]:
    """The next changes that may share a commit: at most one a document id, in order of arrival, a bounded number.

    Those whose callers gave up are left out.
    """
    batch: list[_Waiting] = []
    ids: set[str] = set()
    chunks = 0
    while queue and len(batch) < MAX_BATCH_DOCUMENTS:
        waiting = queue[0]
        if waiting.result.done():
            queue.popleft()
            continue
        chunks += waiting.chunk_count
        if batch and (waiting.change.document_id in ids or chunks > MAX_BATCH_CHUNKS):
            break
        ids.add(waiting.change.document_id)
        batch.append(queue.popleft())
    return batch


def _answer(waiting: _Waiting, result: Result) -> None:
    if not waiting.result.done():
        # Every caller raises an error of its own: a shared one would collect all their tracebacks.
        waiting.result.set_result(copy.copy(result) if isinstance(result, RagError) else result)
