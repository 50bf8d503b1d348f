"""The lexical leg on OpenSearch: BM25 over English stems, one index a collection uid (see layout).

Does not: segment Chinese, Japanese or Thai into words beyond Unicode's rules, or search by prefix. Versions that are
dead or not committed count in the statistics until they are purged and their segment is merged, nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from embedding.ports import FloatArray
from retriever.ports import MAX_READ_CHUNKS
from retriever.search.opensearch.conditions import all_of, compiled, of_versions, readable_by, seen_by, values_of
from retriever.search.opensearch.engine import Call, Engine, Line
from retriever.search.opensearch.failures import IndexAbsent
from retriever.search.opensearch.layout import PAIRS, chunks_alias, chunks_indexes, create_chunks, key_of
from retriever.search.opensearch.sources import chunk_source, read_chunk, read_record, record_source
from retriever.search.words import telling_words
from retriever.types import Chunk, DocumentRecord, Hit, Scope, version_of
from retriever.upkeep.ports import STEP_S, Place

PLACE: Final = "lexical search"
PURGE_CHUNKS: Final = 1_000  # a request that deletes more may outlast its caller
MAX_HITS: Final = 10_000  # index.max_result_window
READ_CHUNKS: Final = 1_000  # with their texts, some 2 MB
_BY_PLACE: Final = {"size": MAX_HITS, "sort": [{"version": "asc"}, {"position": "asc"}], "track_total_hits": False}


@dataclass(frozen=True, slots=True)
class LexicalWeights:
    """What a match is worth, field by field.

    `pairs` is the phrase boost: words that stand together in question and text. XQuAD-en, nDCG@10, by its weight:
    0: .9646, .2: .9678, .35: .9674, .5: .9682; where words are missing or added, .2 to .35 is best and .5 worse.
    """

    text: float = 1.0
    heading: float = 1.0
    pairs: float = 0.25


class OpenSearchLexicalIndex:
    """LexicalLeg, ChunkStore and ChunkReader."""

    def __init__(self, engine: Engine, *, weights: LexicalWeights | None = None) -> None:
        self._engine = engine
        self._weights = weights or LexicalWeights()

    async def search(self, text: str, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """See retriever.ports.LexicalLeg."""
        conditions = [seen_by(scope.snapshot), readable_by(scope.groups), compiled(scope.filter)]
        body = {
            "query": {"bool": {"should": self._matching(text), "minimum_should_match": 1, "filter": conditions}},
            "size": min(limit, MAX_HITS),
            "sort": ["_score", {"version": "asc"}, {"position": "asc"}],
            "track_total_hits": False,
        }
        alias = chunks_alias(self._engine, scope.tenant, scope.snapshot.uid)
        try:
            answer = await self._engine.search(alias, _call(budget), body=body)
        except IndexAbsent:
            return []
        return [_hit(each) for each in answer["hits"]["hits"]]

    async def write(
        self,
        tenant: str,
        uid: str,
        documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]],
        vectors: FloatArray | None,  # noqa: ARG002  # the port's: this leg keeps words
        *,
        budget: Budget,
    ) -> None:
        """See retriever.ports.ChunkStore."""
        alias, call = chunks_alias(self._engine, tenant, uid), _call(budget)
        try:
            await self._engine.create(alias, _lines(documents), call)
        except IndexAbsent:
            await create_chunks(self._engine, tenant, uid, call)
            await self._create(alias, documents, call)

    async def _create(
        self, alias: str, documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]], call: Call
    ) -> None:
        """Into an index that was just made; who drops the collection may be faster."""
        try:
            await self._engine.create(alias, _lines(documents), call)
        except IndexAbsent as exc:
            raise SearchUnavailable(f"{PLACE}: the collection went while it was written to; try again") from exc

    async def seal(self, tenant: str, uid: str, number: int, *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore. On disk since the write was acknowledged; searchable from here on."""
        written = of_versions(range(version_of(number, 0), version_of(number + 1, 0)))
        return await self._counted(tenant, uid, written, _call(budget))

    async def read(
        self, tenant: str, uid: str, versions: Sequence[int], positions: range, *, budget: Budget
    ) -> tuple[list[Chunk], FloatArray | None]:
        """See retriever.ports.ChunkReader."""
        among = {"range": {"position": {"gte": positions.start, "lt": positions.stop}}}
        body = {
            "query": all_of([of_versions(versions), among]),
            "size": MAX_READ_CHUNKS,
            "sort": [{"version": "asc"}, {"position": "asc"}],
            "track_total_hits": False,
            "_source": {"excludes": ["record"]},
        }
        try:
            answer = await self._engine.search(chunks_alias(self._engine, tenant, uid), _call(budget), body=body)
        except IndexAbsent:
            return [], None
        return [read_chunk(each["_id"], each["_source"]) for each in answer["hits"]["hits"]], None

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore."""
        alias, call, doomed = chunks_alias(self._engine, tenant, uid), _call(budget), of_versions(versions)
        if not await self._counted(tenant, uid, doomed, call):
            return 0
        try:
            await self._engine.delete_some(alias, doomed, call, at_most=PURGE_CHUNKS)
        except IndexAbsent:
            return 0  # the collection was dropped meanwhile
        return await self._counted(tenant, uid, doomed, call)

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """See retriever.ports.ChunkStore."""
        await drop_chunks(self._engine, key_of(tenant, uid), _call(budget))

    async def found(self, tenant: str, uid: str, *, budget: Budget) -> AsyncIterator[Sequence[Place]]:
        """See retriever.upkeep.ports.ChunkAudit."""
        alias, after = chunks_alias(self._engine, tenant, uid), [-1, -1]
        try:
            await self._engine.refresh(alias, _call(budget.within(STEP_S)))
            while True:
                call = _call(budget.within(STEP_S))
                body = {**_BY_PLACE, "query": {"match_all": {}}, "search_after": after, "_source": False}
                hits = (await self._engine.search(alias, call, body=body))["hits"]["hits"]
                if not hits:
                    return
                yield [(version, position) for version, position in (hit["sort"] for hit in hits)]
                after = hits[-1]["sort"]
        except IndexAbsent:
            return

    async def chunks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> list[Chunk]:
        """See retriever.upkeep.ports.ChunkAudit."""
        alias, call, which = chunks_alias(self._engine, tenant, uid), _call(budget), of_versions([version])
        found: list[Chunk] = []
        try:
            while True:
                after = [version, found[-1].position if found else -1]
                body = {**_BY_PLACE, "query": which, "search_after": after, "size": READ_CHUNKS}
                hits = (await self._engine.search(alias, call, body=body))["hits"]["hits"]
                if not hits:
                    return found
                found += [read_chunk(hit["_id"], hit["_source"]) for hit in hits]
        except IndexAbsent:
            return []

    async def _counted(self, tenant: str, uid: str, query: dict[str, Any], call: Call) -> int:
        """How many chunks match, of all that were written before."""
        alias = chunks_alias(self._engine, tenant, uid)
        try:
            await self._engine.refresh(alias, call)
            return await self._engine.count(alias, query, call)
        except IndexAbsent:
            return 0

    def _matching(self, text: str) -> list[dict[str, Any]]:
        """Any of the question's words, in text or heading; neighbours that stand together are worth more."""
        analyzer = "question" if telling_words(text) else "bare_question"
        weights = {"text": self._weights.text, "heading": self._weights.heading}
        clauses = [_match(field, text, analyzer, boost) for field, boost in weights.items()]
        return [*clauses, _match(f"text.{PAIRS}", text, "question_pairs", self._weights.pairs)]


async def drop_chunks(engine: Engine, key: str, call: Call) -> None:
    """Delete a collection's index, whatever its version; idempotent."""
    found = await engine.ask("GET", f"{chunks_indexes(engine, key)}/_alias", call)
    for index in found:
        try:
            await engine.ask("DELETE", index, call)
        except IndexAbsent:
            continue  # somebody else was faster


def _match(field: str, text: str, analyzer: str, boost: float) -> dict[str, Any]:
    return {"match": {field: {"query": text, "analyzer": analyzer, "boost": boost}}}


def _call(budget: Budget) -> Call:
    return Call(budget, SearchUnavailable, PLACE)


def _lines(documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]]) -> Iterator[Line]:
    for record, chunks in documents:
        whole = record_source(record)
        for chunk in chunks:
            source = {
                **chunk_source(chunk),
                "groups": list(record.groups),
                "values": values_of(record, section=chunk.section, page=chunk.page),
                "record": whole,
            }
            yield Line(chunk.chunk_id, source)


def _hit(found: dict[str, Any]) -> Hit:
    source = found["_source"]
    return Hit(read_chunk(found["_id"], source), read_record(source["record"]), float(found["_score"]))
