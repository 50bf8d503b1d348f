"""A second attempt for a retrieval that is slower than 19 of 20: the slow tail of many endpoints costs 5 % more calls.

Rule 1: hedging begins after the p95 of what was measured here, never before MIN_SAMPLES of them, and never with one
        endpoint: a second call to the same server makes a slow one slower.
Rule 2: the budget is a share of all calls, kept as tokens: in an outage everything is slow and hedging doubles the load
        of what is left, so the tokens run out and it stops.
Rule 3: the first good reply wins and the other call is cancelled. A failure wins only when both failed.

Decorates any Retriever. The mesh's retries and this share one budget: hedged calls carry a header that is routed with 0
retries (design.md section 7).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, DeadlineExceeded
from orchestrator.ports import Retriever
from orchestrator.types import Question, Retrieval

MIN_SAMPLES = 100  # fewer say nothing of a p95
WINDOW = 500  # newest samples the p95 is taken from
HEDGE_SHARE = 0.05
MAX_TOKENS = 10.0  # a burst of so many hedges may follow a quiet time
PERCENTILE = 0.95


class HedgedRetriever:
    """See the rules above.

    Args:
        primary: Asked always.
        hedge: Asked when the primary is slow: the same service under the hedge header.
        endpoints: How many servers answer; 1 turns hedging off.
        on_hedge: Told of every second call, for the metric.
    """

    def __init__(
        self,
        primary: Retriever,
        hedge: Retriever,
        *,
        endpoints: int,
        clock: Clock,
        on_hedge: Callable[[], None] = lambda: None,
    ) -> None:
        self._primary = primary
        self._hedge = hedge
        self._endpoints = endpoints
        self._clock = clock
        self._samples: deque[float] = deque(maxlen=WINDOW)
        self._tokens = 0.0
        self._on_hedge = on_hedge

    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        began = self._clock()
        self._tokens = min(MAX_TOKENS, self._tokens + HEDGE_SHARE)
        first = asyncio.ensure_future(self._primary.retrieve(question, vector, fingerprint, budget=budget))
        tries = [first]
        try:
            await asyncio.wait(tries, timeout=self._delay_s())
            if not first.done() and self._tokens >= 1.0:
                self._tokens -= 1.0
                self._on_hedge()
                tries.append(asyncio.ensure_future(self._hedge.retrieve(question, vector, fingerprint, budget=budget)))
            return await _first_good(tries)
        finally:
            if first.done() and not first.cancelled() and first.exception() is None:
                self._samples.append(self._clock() - began)
            await _cancelled(tries)

    def _delay_s(self) -> float | None:
        """After how long the second call is made; None: never."""
        if self._endpoints < 2 or len(self._samples) < MIN_SAMPLES:
            return None
        return sorted(self._samples)[int(PERCENTILE * len(self._samples))]


async def _first_good(tries: Sequence[asyncio.Future[Retrieval]]) -> Retrieval:
    waiting = set(tries)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:  # two that end at once are both here: a good one wins, whichever is looked at first
            if ended.exception() is None:
                return ended.result()
        for error in filter(None, (ended.exception() for ended in done)):
            # What the retriever says of the request itself is an answer too: the other would say the same.
            if not isinstance(error, BackendUnavailable | DeadlineExceeded) or not waiting:
                raise error


async def _cancelled(tries: Sequence[asyncio.Future[Retrieval]]) -> None:
    for attempt in tries:
        attempt.cancel()
    await asyncio.gather(*tries, return_exceptions=True)
