"""One cluster's HTTP API: every request bounded by its budget, failures translated, harmless ones tried again.

Rule 1: what may be asked twice is retried (reads, refreshes, creating documents under ids of their own, deleting); a
        compare-and-swap is not: the second try could lose to the first.
Rule 2: 404 is an answer (`Absent`, `IndexAbsent`): a collection's index exists from its first chunk on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opensearchpy import AsyncOpenSearch

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from chassis.retry import RetryPolicy
from retriever.search.opensearch.failures import NOT_FOUND, IndexAbsent, refusal, require_present, translated

# Far below the server's limit of 100 MiB, so that no request occupies it for long; from 1 MiB on the HTTP client warns
# that sending holds up the event loop.
BULK_BYTES: Final = 960 << 10
_EXISTS: Final = 409  # of a document that is there already: under our ids it has the same content

Json = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What every request of one port's method has in common.

    Attributes:
        failure: What the store's being unavailable is for the caller.
        place: Said in front of messages.
    """

    budget: Budget
    failure: type[BackendUnavailable]
    place: str


@dataclass(frozen=True, slots=True)
class Line:
    """One document of a bulk request, and the id it is created under."""

    id: str
    source: Json


class Engine:
    """Requests to one cluster.

    Args:
        client: Opened and closed by somebody else.
        prefix: Every index, alias and template begins with it.
        retries: For what may be asked twice.
    """

    def __init__(self, client: AsyncOpenSearch, *, prefix: str, retries: RetryPolicy) -> None:
        self._client = client
        self._retries = retries
        self.prefix = prefix

    async def once(
        self, method: str, path: str, call: Call, *, body: Json | str | None = None, params: Json | None = None
    ) -> Answer:
        """One request, in what is left of the budget.

        Raises:
            Absent, IndexAbsent: 404.  Conflict: 409.  DeadlineExceeded, StorageFull, call.failure.
        """
        call.budget.check(call.place)
        # 404 is an answer: the client would log a warning for every name that is not there.
        given = {**(params or {}), "request_timeout": call.budget.remaining_s(), "ignore": NOT_FOUND}
        with translated(call.failure, call.place):
            answer = await self._client.transport.perform_request(method, f"/{path}", params=given, body=body)
        require_present(answer)
        return answer if isinstance(answer, dict) else {}

    async def ask(
        self, method: str, path: str, call: Call, *, body: Json | str | None = None, params: Json | None = None
    ) -> Answer:
        """As `once`, tried again when it failed for a reason that passes."""
        work = partial(self.once, method, path, call, body=body, params=params)
        return await self._retries.call(work, budget=call.budget)

    async def search(self, alias: str, call: Call, *, body: Json, params: Json | None = None) -> Answer:
        """A search over every shard, or a failure: part of an answer would be a wrong one.

        Raises:
            IndexAbsent, and as `once`.
        """
        bounded = {**body, "timeout": f"{max(1, int(call.budget.remaining_s() * 1e3))}ms"}
        whole = {**(params or {}), "allow_partial_search_results": "false"}
        answer = await self.ask("POST", f"{alias}/_search", call, body=bounded, params=whole)
        if answer["timed_out"]:
            raise DeadlineExceeded(f"{call.place}: the store did not finish in time")
        require_all_shards(answer, call)
        return answer

    async def create(self, alias: str, lines: Iterable[Line], call: Call, *, params: Json | None = None) -> None:
        """Create documents that never change; those that are there stay as they are.

        Raises:
            IndexAbsent: there is no such alias; nothing was written.  And as `once`.
        """
        given = {**(params or {}), "require_alias": "true"}
        for body in _bodies(lines):
            await self._retries.call(partial(self._bulk, alias, body, given, call), budget=call.budget)

    async def _bulk(self, alias: str, body: str, params: Json, call: Call) -> None:
        answer = await self.once("POST", f"{alias}/_bulk", call, body=body, params=params)
        if not answer["errors"]:
            return
        for item in answer["items"]:
            done = item["create"]
            if done["status"] == NOT_FOUND:
                raise IndexAbsent
            if done["status"] >= 300 and done["status"] != _EXISTS:
                raise refusal(done["status"], json.dumps(done["error"]), call.failure, call.place)

    async def refresh(self, alias: str, call: Call) -> None:
        """Make everything written so far searchable, on every shard."""
        require_all_shards(await self.ask("POST", f"{alias}/_refresh", call), call)

    async def count(self, alias: str, query: Json, call: Call, *, params: Json | None = None) -> int:
        """How many documents match, on every shard."""
        answer = await self.ask("POST", f"{alias}/_count", call, body={"query": query}, params=params)
        require_all_shards(answer, call)
        return int(answer["count"])

    async def delete_some(
        self, alias: str, query: Json, call: Call, *, at_most: int, params: Json | None = None
    ) -> int:
        """Delete a bounded number of the searchable documents that match; returns how many were tried."""
        given = {
            **(params or {}),
            "conflicts": "proceed",  # with another purge of the same documents
            "max_docs": at_most,
            "refresh": "true",
        }
        answer = await self.ask("POST", f"{alias}/_delete_by_query", call, body={"query": query}, params=given)
        if answer["timed_out"] or answer["failures"]:
            raise call.failure(f"{call.place}: the store could not delete everything")
        return int(answer["total"])


def require_all_shards(answer: Answer, call: Call) -> None:
    """A shard that failed holds what we would not know of."""
    if answer["_shards"]["failed"]:
        raise call.failure(f"{call.place}: a part of the store failed")


def _bodies(lines: Iterable[Line]) -> Iterator[str]:
    return joined(f"{json.dumps({'create': {'_id': line.id}})}\n{json.dumps(line.source)}\n" for line in lines)


def joined(actions: Iterable[str]) -> Iterator[str]:
    """Bulk requests of about BULK_BYTES; a larger action has one of its own."""
    held: list[str] = []
    size = 0
    for action in actions:
        if held and size + len(action) > BULK_BYTES:
            yield "".join(held)
            held, size = [], 0
        held.append(action)
        size += len(action)
    if held:
        yield "".join(held)
