"""The walk of one ask: settle it, answer from the cache, or fly (design.md section 3).

Rule 1: before the first event everything that concerns the request itself is settled; later trouble is a degraded or
        partial completion, or an error.
Rule 2: only a whole, undegraded answer with sources behind it is stored: never one that is degraded, partial, cut,
        refused, NOT_FOUND or cancelled.
Rule 3: nothing here knows a wire or a store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace

from chassis import context
from chassis.budget import Budget, Clock
from chassis.errors import AnswerNotFound, CacheUnavailable, DeadlineExceeded
from orchestrator.answering import AnswerMaker, Made
from orchestrator.cache.key import normalised
from orchestrator.flights import FlightTable
from orchestrator.lookup import CACHE_S, AnswerLookup, Hit, Lookup
from orchestrator.ports import AnswerCache, TokenCounter
from orchestrator.pricing import saved
from orchestrator.relay.flying import FlightRelay
from orchestrator.replay import BUSY_WAITERS, Stopwatch, Waiter
from orchestrator.speaking import AnswerFlight, LoggedEvent, Stage
from orchestrator.types import (
    EVERYTHING,
    AnswerCompleted,
    AnswerDelta,
    AnswerEvent,
    AnswerStarted,
    CachedAnswer,
    CacheKey,
    CachePolicy,
    CacheResult,
    CacheStatus,
    CitationAdded,
    FinishReason,
    Grounding,
    Question,
)

FLIGHT_S = 600.0  # beyond every deadline and generation limit, which are what ends a flight


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time and chance, injected.

    Attributes:
        clock: Monotonic seconds.
        wall: Seconds since the epoch, for the age of cached answers.
        new_id: A fresh answer id.
        trace_id: Of the call being served; "" when there is none.
    """

    clock: Clock
    wall: Clock
    new_id: Callable[[], str]
    trace_id: Callable[[], str]


class AskPipeline:
    """Answers questions."""

    def __init__(
        self,
        *,
        lookup: AnswerLookup,
        maker: AnswerMaker,
        cache: AnswerCache | None,
        counter: TokenCounter,
        model: str,
        surroundings: Surroundings,
        relay: FlightRelay | None = None,
        store_s: float = CACHE_S,
    ) -> None:
        self._lookup = lookup
        self._maker = maker
        self._cache = cache
        self._counter = counter
        self._model = model
        self._around = surroundings
        self._flights: FlightTable[LoggedEvent] = FlightTable(surroundings.clock)
        self._relay = relay
        self._store_s = store_s
        self._waiters = 0

    @property
    def generations(self) -> int:
        """How many generations are under way."""
        return len(self._flights)

    async def ask(
        self, question: Question, *, budget: Budget, queue_ms: float = 0.0
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The answer's events. Closing the generator is the caller's cancel: the last one to close stops the engine.

        Raises:
            CollectionNotFound, FilterInvalid, InvalidRequest: the retriever refuses the request.
            RetrieverUnavailable, SearchUnavailable, CatalogueUnavailable: there is nothing to answer from.
            DeadlineExceeded: the deadline passed before there were passages.
        """
        watch = Stopwatch(self._around.clock, queue_ms=queue_ms)
        found = await self._lookup.settle(question, budget=budget)
        if found.hit is not None:
            for event in self._replayed(question, found, found.hit, watch):
                yield event
            return
        async with aclosing(self._flown(question, found, watch, budget)) as flown:
            async for event in flown:
                yield event

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> None:
        """Remove a cached answer. Raises AnswerNotFound, CacheUnavailable."""
        if self._cache is None or not await self._cache.evict(tenant, collection, answer_id, budget=budget):
            raise AnswerNotFound("no cached answer has this id", metadata={"answer": answer_id})

    async def closed(self) -> None:
        """Stop every generation under way."""
        await self._flights.stopped()

    def _started(self, question: Question, cache: CacheResult, model: str) -> AnswerStarted:
        return AnswerStarted(
            answer_id=self._around.new_id(),
            request_id=question.request_id,
            trace_id=self._around.trace_id(),
            model=model,
            cache=cache,
        )

    def _replayed(self, question: Question, found: Lookup, hit: Hit, watch: Stopwatch) -> Iterator[AnswerEvent]:
        """A cached answer, with the citations, markers and grounding it was made with."""
        entry = hit.answer
        yield self._started(question, found.result(self._around.wall()), entry.model)
        yield replace(entry.retrieval, milliseconds=0.0)
        for citation in entry.citations:
            yield CitationAdded(citation)
        watch.text_came()
        yield AnswerDelta(entry.text)
        usage, cost = saved(entry.completed.usage, entry.completed.cost)
        timings = watch.timings(cache_ms=found.cache_ms, embed_ms=found.embed_ms)
        yield replace(entry.completed, usage=usage, cost=cost, timings=timings, degraded=tuple(found.degraded))

    async def _flown(
        self, question: Question, found: Lookup, watch: Stopwatch, budget: Budget
    ) -> AsyncGenerator[AnswerEvent, None]:
        started = self._started(question, found.result(self._around.wall()), self._model)

        async def store(made: Made) -> None:
            await self._store(question, found, started, made)

        async def make(stage: Stage) -> None:
            await self._maker.make(question, found, stage, store)

        async def work(flight: AnswerFlight) -> None:
            with _in_its_own_time(budget, flight):
                if key is None or self._relay is None:
                    flight.decide(is_borrowed=False)
                    await make(flight)
                else:
                    await self._relay.carried(_digest(key), flight, make)

        key = self._shared_key(question, found)
        async with self._flights.boarded(key, work, deadline=budget.deadline) as (flight, is_leader):
            waiter = Waiter(
                flight,
                watch,
                budget=budget,
                is_leader=is_leader,
                degraded=found.degraded,
                counter=self._counter,
                is_busy=self._waiters > BUSY_WAITERS,
            )
            await flight.decided()
            if question.filter != EVERYTHING:
                await waiter.accepted()  # only the retriever knows the fields: a wrong one fails the request (rule 1)
            is_joined = flight.is_borrowed or not is_leader
            yield replace(started, cache=CacheResult(CacheStatus.JOINED)) if is_joined else started
            self._waiters += 1
            try:
                async for event in waiter.events(cache_ms=found.cache_ms, embed_ms=found.embed_ms):
                    yield event
            finally:
                self._waiters -= 1

    def _shared_key(self, question: Question, found: Lookup) -> tuple[CacheKey, int] | None:
        """What makes two misses the same; None: this one flies alone."""
        if question.cache_policy is not CachePolicy.DEFAULT or question.redacted or found.snapshot is None:
            return None
        return self._lookup.key_at(question, found.snapshot), found.snapshot.generation

    async def _store(self, question: Question, found: Lookup, started: AnswerStarted, made: Made) -> None:
        """Keep the answer under the snapshot its passages were read at. A cache that fails costs nobody an answer."""
        if self._cache is None or not _may_be_stored(question, found, made.completed):
            return
        snapshot = made.retrieval.snapshot
        entry = CachedAnswer(
            tenant=question.identity.tenant,
            collection=question.collection,
            answer_id=started.answer_id,
            question_text=normalised(question.text),
            snapshot=snapshot,
            model=started.model,
            retrieval=made.passages,
            text=made.text,
            citations=made.citations,
            completed=made.completed,
            created_at_s=self._around.wall(),
            vector=found.vector if found.vector is not None else (),
        )
        budget = Budget.of(self._store_s, self._around.clock)
        try:
            await self._cache.put(self._lookup.key_at(question, snapshot), entry, budget=budget)
        except (CacheUnavailable, DeadlineExceeded):
            return  # the answer is whole; the cache's decorators count the failure


def _digest(key: tuple[CacheKey, int]) -> str:
    """A flight's name for other replicas, whatever the key is made of."""
    (partition, question), generation = (key[0].partition, key[0].question), key[1]
    return hashlib.sha256(json.dumps([partition, question, generation]).encode()).hexdigest()


def _may_be_stored(question: Question, found: Lookup, completed: AnswerCompleted) -> bool:
    if question.cache_policy is CachePolicy.BYPASS or question.redacted or found.degraded:
        return False
    is_whole = completed.finish_reason is FinishReason.STOP and not completed.is_partial
    return is_whole and not completed.degraded and completed.grounding is not Grounding.NOT_FOUND


@contextmanager
def _in_its_own_time(budget: Budget, flight: AnswerFlight) -> Iterator[None]:
    """Outgoing calls are capped by the call's budget (chassis.channel): a shared flight must outlive its leader's."""
    call = context.peek()
    if call is None or not flight.is_shared:
        yield
        return
    with context.use(replace(call, budget=Budget.of(FLIGHT_S, budget.clock))):
        yield
