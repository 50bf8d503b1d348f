"""Copies indexes of an older layout into the current one, beside them, and moves their aliases over.

Readers and writers name aliases and never notice, but for a moment at the end of each index in which writes are refused
with a request to try again.

1. Copy, again and again, until little has changed meanwhile. 2. Close the old index for writes, copy the rest, compare.
3. One request moves the alias. 4. The old index goes.

Rule 1: what is deleted from the old index while it is copied is deleted from the new one: a chunk that was purged and
        came back would be visible.
Rule 2: broken off anywhere, it is begun again and goes on; only step 2 leaves writes refused until then.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from retriever.search.opensearch.engine import Answer, Call, Engine, joined
from retriever.search.opensearch.layout import (
    CATALOGUE,
    CHUNKS,
    RECORDS,
    TEXTS,
    VERSIONS,
    index_behind,
    is_on_one_shard,
    kind_of,
    outdated_aliases,
    write_templates,
)
from retriever.upkeep.findings import Progress
from retriever.upkeep.ports import STEP_S

PLACE: Final = "catalogue"
PAGES: Final = {CATALOGUE: 100, RECORDS: 500, TEXTS: 20, CHUNKS: 500}  # documents at a time; a text may have megabytes
FEW: Final = 1_000  # documents left to copy while writes are refused: about a second
MAX_PASSES: Final = 10
# What orders each kind's documents totally: two of one shard never share a sequence number.
_BY_VERSION: Final = [{"scope": "asc"}, {"version": "asc"}]
_BY_SEQUENCE: Final = [{"_seq_no": "asc"}]
_FIRST: Final[Mapping[int, list[Any]]] = {1: [-1], 2: ["", -1]}


class OpenSearchMigration:
    """Migrates every index of one installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.migrated = 0
        self.current = 0

    async def migrate(self, *, budget: Budget) -> AsyncIterator[Progress]:
        """Bring all to the current layout; the catalogue last, for everything else names it."""
        await write_templates(self._engine, _call(budget))
        while outdated := await outdated_aliases(self._engine, _call(budget)):
            for alias, old in sorted(outdated.items(), key=self._order):
                async for progress in self._move(alias, old, budget):
                    yield progress
                self.migrated += 1
        await self._remove_left(budget)
        pattern = ",".join(f"{self._engine.prefix}-{kind}-v{version}*" for kind, version in VERSIONS.items())
        found = await self._engine.ask("GET", f"{pattern}/_alias", _call(budget))
        self.current = max(0, len(found) - self.migrated)

    def _order(self, each: tuple[str, str]) -> tuple[bool, str]:
        return kind_of(self._engine, each[0]) == CATALOGUE, each[0]

    async def _move(self, alias: str, old: str, budget: Budget) -> AsyncIterator[Progress]:
        new, kind = index_behind(self._engine, alias), kind_of(self._engine, alias)
        if not await self._exists(new, budget):
            await self._engine.ask("PUT", new, _call(budget))
        for _ in range(MAX_PASSES):
            changed = 0
            async for done, moved, total in self._brought_over(old, new, kind, budget):
                changed += moved
                yield Progress(kind, done, total)
            if changed <= FEW:
                break
        is_moved = False
        try:
            await self._engine.ask("PUT", f"{old}/_block/write", _call(budget))
            async for done, _, total in self._brought_over(old, new, kind, budget):
                yield Progress(kind, done, total)
            await self._move_alias(alias, old, new, budget)
            is_moved = True
        finally:
            if not is_moved:
                await self._open(old, Budget.of(STEP_S))
        await self._engine.ask("DELETE", old, _call(budget))

    async def _move_alias(self, alias: str, old: str, new: str, budget: Budget) -> None:
        held = [await self._count(index, budget) for index in (old, new)]
        if held[0] != held[1]:
            raise CatalogueUnavailable(f"{PLACE}: the copy of an index is not complete; run the migration again")
        actions = [
            {"remove": {"index": old, "alias": alias}},
            {"add": {"index": new, "alias": alias, "is_write_index": True}},
        ]
        await self._engine.ask("POST", "_aliases", _call(budget), body={"actions": actions})

    async def _brought_over(self, old: str, new: str, kind: str, budget: Budget) -> AsyncIterator[tuple[int, int, int]]:
        """Make `new` hold what `old` does; yields what was looked at, what was changed, and of how much."""
        total, done = await self._count(old, budget), 0
        async for page in self._pages(old, kind, budget, with_source=True):
            there = await self._found(new, page, budget, with_source=kind == CATALOGUE)
            todo = [hit for hit in page if _differs(hit, there, kind)]
            await self._write(new, map(_indexed, todo), budget)
            done += len(page)
            yield done, len(todo), total
        await self._engine.refresh(new, _call(budget))
        async for page in self._pages(new, kind, budget, with_source=False):
            there = await self._found(old, page, budget, with_source=False)
            gone = [hit for hit in page if hit["_id"] not in there]
            await self._write(new, map(_deleted, gone), budget)
            yield done, len(gone), total

    async def _pages(
        self, index: str, kind: str, budget: Budget, *, with_source: bool
    ) -> AsyncIterator[Sequence[Answer]]:
        """Every document of an index."""
        order = _BY_SEQUENCE if is_on_one_shard(kind) else _BY_VERSION
        after = _FIRST[len(order)]
        await self._engine.refresh(index, _call(budget))
        while True:
            body = {"size": PAGES[kind], "sort": order, "search_after": after, "_source": with_source}
            hits = (await self._engine.search(index, _call(budget), body=body))["hits"]["hits"]
            if not hits:
                return
            yield hits
            after = hits[-1]["sort"]

    async def _found(self, index: str, hits: Sequence[Answer], budget: Budget, *, with_source: bool) -> dict[str, Any]:
        """Which of these documents an index holds, and what they say if that is asked for."""
        wanted = [{"_id": hit["_id"], **_routing(hit)} for hit in hits]
        given = {"_source": str(with_source).lower()}
        answer = await self._engine.ask("POST", f"{index}/_mget", _call(budget), body={"docs": wanted}, params=given)
        return {each["_id"]: each.get("_source") for each in answer["docs"] if each.get("found")}

    async def _write(self, index: str, actions: Iterable[str], budget: Budget) -> None:
        for body in joined(actions):
            answer = await self._engine.ask("POST", f"{index}/_bulk", _call(budget), body=body)
            if answer["errors"]:
                raise CatalogueUnavailable(f"{PLACE}: the store did not take all of a copy; run the migration again")

    async def _count(self, index: str, budget: Budget) -> int:
        await self._engine.refresh(index, _call(budget))
        return await self._engine.count(index, {"match_all": {}}, _call(budget))

    async def _exists(self, index: str, budget: Budget) -> bool:
        return index in await self._engine.ask("GET", f"{index}*/_alias", _call(budget))

    async def _open(self, index: str, budget: Budget) -> None:
        await self._engine.ask("PUT", f"{index}/_settings", _call(budget), body={"index.blocks.write": None})

    async def _remove_left(self, budget: Budget) -> None:
        """Indexes of an older layout without an alias: a run before died between moving it and removing them."""
        for kind, current in VERSIONS.items():
            found = await self._engine.ask("GET", f"{self._engine.prefix}-{kind}-v*/_alias", _call(budget))
            for index, body in found.items():
                version = index.removeprefix(f"{self._engine.prefix}-{kind}-v").partition("-")[0]
                if not body["aliases"] and int(version) < current:
                    await self._engine.ask("DELETE", index, _call(budget))


def _differs(hit: Answer, there: Mapping[str, Any], kind: str) -> bool:
    """Only the catalogue's documents ever change."""
    return hit["_id"] not in there or (kind == CATALOGUE and there[hit["_id"]] != hit["_source"])


def _indexed(hit: Answer) -> str:
    action = {"index": {"_id": hit["_id"], **_routing(hit)}}
    return f"{json.dumps(action)}\n{json.dumps(hit['_source'])}\n"


def _deleted(hit: Answer) -> str:
    return f"{json.dumps({'delete': {'_id': hit['_id'], **_routing(hit)}})}\n"


def _routing(hit: Answer) -> dict[str, str]:
    return {"routing": hit["_routing"]} if "_routing" in hit else {}


def _call(budget: Budget) -> Call:
    return Call(budget.within(STEP_S), CatalogueUnavailable, PLACE)
