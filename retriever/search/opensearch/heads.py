"""The catalogue's heads and leases in one index: compare-and-swap on the sequence number, reads in real time.

A revision is the layout's version, the document's primary term and its sequence number, as one number: the server never
gives the same pair twice in one index, not even after the document was removed and made again; and a swap is sent to
the index its revision was read from, so that after a migration it finds that one closed, and no equal pair by chance.
A swap whose answer is lost is looked up: it carries a stamp of its own, so that "was it stored?" has an answer.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import astuple, replace
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, CatalogueUnavailable, Conflict
from retriever.search.opensearch.engine import Answer, Call, Engine, Json
from retriever.search.opensearch.failures import Absent, IndexAbsent
from retriever.search.opensearch.layout import CATALOGUE, key_of, missing_indexes
from retriever.search.opensearch.sources import from_micros, to_micros
from retriever.search.upkeep_fields import read_upkeep, readable_head, upkeep_source
from retriever.types import BUILD_SUFFIX, CollectionHead, FieldType, Lease, Snapshot, Staged

PLACE: Final = "catalogue"
HEAD: Final = "head"
LEASE: Final = "lease"
_TERM_BITS: Final = 16
_SEQUENCE_BITS: Final = 44  # 17 trillion writes of one index; the term above it counts failovers
_DECODED: Final = 1_024  # heads kept decoded: a full one (1,000 dead versions) takes 0.2 ms to read

PAGE: Final = 500
_EVERY_HEAD: Final = {"term": {"kind": HEAD}}
_ORDER: Final = ["tenant", "name"]
Names = list[tuple[str, str]]
Heads = list[CollectionHead]  # named here: inside the class `list` is the port's method


class _Sequenced:
    """Documents that change only by compare-and-swap."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.alias = f"{engine.prefix}-{CATALOGUE}"

    async def get(self, key: str, call: Call) -> Answer | None:
        """The document and its revision as of now; None when there is none."""
        try:
            # The primary has every acknowledged write; a copy that was cut off may not know yet that it was.
            return await self._engine.ask("GET", f"{self.alias}/_doc/{key}", call, params={"preference": "_primary"})
        except IndexAbsent as exc:  # "nothing is there" would be wrong
            raise missing_indexes(call) from exc
        except Absent:
            return None

    async def put(self, key: str, source: Json, revision: int, call: Call) -> int:
        """Store it if the revision still stands (0: must not exist); returns the new one.

        Raises:
            Conflict: another writer was faster.
        """
        stamped = {**source, "body": {**source["body"], "stamp": secrets.token_hex(8)}}
        params = _expected(revision) if revision else {"op_type": "create", "require_alias": "true"}
        place = self._place(revision)
        try:
            answer = await self._engine.once("PUT", f"{place}/_doc/{key}", call, body=stamped, params=params)
        except IndexAbsent as exc:
            raise missing_indexes(call) from exc
        except (BackendUnavailable, Conflict):  # the HTTP client sends a PUT again when its connection breaks
            found = await self.get(key, call)
            if found is None or found["_source"]["body"].get("stamp") != stamped["body"]["stamp"]:
                raise
            answer = found
        return revision_of(answer)

    async def remove(self, key: str, revision: int, call: Call) -> None:
        """Remove it if the revision still stands; what is gone already may have gone by this very request, sent twice.

        Raises:
            Conflict: another writer was faster.
        """
        try:
            await self._engine.once("DELETE", f"{self._place(revision)}/_doc/{key}", call, params=_expected(revision))
        except IndexAbsent as exc:
            raise missing_indexes(call) from exc
        except Absent:
            return

    def _place(self, revision: int) -> str:
        return f"{self.alias}-v{revision >> (_TERM_BITS + _SEQUENCE_BITS)}" if revision else self.alias

    async def find(self, query: Json, order: list[str], after: list[str], *, limit: int, call: Call) -> list[Answer]:
        """Documents by a search of everything written so far, those sorted after `after`."""
        body = {
            "query": query,
            "size": limit,
            "sort": [{name: "asc"} for name in order],
            "search_after": after,
            "seq_no_primary_term": True,
        }
        try:
            await self._engine.refresh(self.alias, call)
            answer = await self._engine.search(self.alias, call, body=body)
        except IndexAbsent as exc:
            raise missing_indexes(call) from exc
        return list(answer["hits"]["hits"])


class OpenSearchHeads:
    """CollectionHeads and HeadSurvey."""

    def __init__(self, engine: Engine) -> None:
        self._documents = _Sequenced(engine)
        self._decoded: OrderedDict[int, CollectionHead] = OrderedDict()  # by revision: none is ever used twice

    async def get(self, tenant: str, name: str, *, budget: Budget) -> CollectionHead | None:
        """See retriever.ports.CollectionHeads."""
        found = await self._documents.get(_head_key(tenant, name), _call(budget))
        return None if found is None else self._read(found)

    async def swap(self, head: CollectionHead, *, budget: Budget) -> CollectionHead:
        """See retriever.ports.CollectionHeads. On disk, on every copy in sync, before it returns."""
        key = _head_key(head.tenant, head.name)
        revision = await self._documents.put(key, _head_source(head), head.revision, _call(budget))
        return replace(head, revision=revision)

    async def list(self, tenant: str, *, after: str, limit: int, budget: Budget) -> Heads:
        """See retriever.ports.CollectionHeads."""
        committed = [{"term": {"kind": HEAD}}, {"term": {"tenant": tenant}}, {"range": {"generation": {"gt": 0}}}]
        query = {"bool": {"filter": committed, "must_not": {"wildcard": {"name": f"*{BUILD_SUFFIX}"}}}}
        found = await self._documents.find(query, ["name"], [after], limit=limit, call=_call(budget))
        return [self._read(each) for each in found]

    async def every(self, *, after: tuple[str, str], limit: int, budget: Budget) -> Heads:
        """See retriever.ports.HeadSurvey."""
        found = Heads()
        last, call = [*after], _call(budget)
        while not found and (page := await self._documents.find(_EVERY_HEAD, _ORDER, last, limit=limit, call=call)):
            found = [head for each in page if (head := self._read_or_none(each)) is not None]
            last = page[-1]["sort"]
        return found

    async def unreadable(self, *, budget: Budget) -> Names:
        """See retriever.upkeep.ports.HeadAudit."""
        found = Names()
        last, call = ["", ""], _call(budget)
        while page := await self._documents.find(_EVERY_HEAD, _ORDER, last, limit=PAGE, call=call):
            bad = [each["_source"] for each in page if self._read_or_none(each) is None]
            found += [(source["tenant"], source["name"]) for source in bad]
            last = page[-1]["sort"]
        return found

    async def remove(self, head: CollectionHead, *, budget: Budget) -> None:
        """See retriever.ports.CollectionHeads."""
        await self._documents.remove(_head_key(head.tenant, head.name), head.revision, _call(budget))

    def _read_or_none(self, answer: Answer) -> CollectionHead | None:
        try:
            return self._read(answer)
        except CatalogueUnavailable:
            return None

    def _read(self, answer: Answer) -> CollectionHead:
        revision = revision_of(answer)
        head = self._decoded.get(revision)
        if head is None:
            with readable_head(PLACE):
                head = self._decoded[revision] = _head(answer["_source"], revision)
        self._decoded.move_to_end(revision)
        if len(self._decoded) > _DECODED:
            self._decoded.popitem(last=False)
        return head


class OpenSearchLeases:
    """Leases."""

    def __init__(self, engine: Engine) -> None:
        self._documents = _Sequenced(engine)

    async def get(self, name: str, *, budget: Budget) -> Lease | None:
        """See retriever.ports.Leases."""
        found = await self._documents.get(key_of(LEASE, name), _call(budget))
        if found is None:
            return None
        body = found["_source"]["body"]
        return Lease(name, body["owner"], body["beats"], revision_of(found))

    async def swap(self, lease: Lease, *, budget: Budget) -> Lease:
        """See retriever.ports.Leases."""
        source = {"kind": LEASE, "name": lease.name, "body": {"owner": lease.owner, "beats": lease.beats}}
        revision = await self._documents.put(key_of(LEASE, lease.name), source, lease.revision, _call(budget))
        return replace(lease, revision=revision)


def revision_of(answer: Answer) -> int:
    """Never 0: primary terms begin at 1."""
    layout = int(answer["_index"].rpartition("-v")[2])
    return (layout << _TERM_BITS | int(answer["_primary_term"])) << _SEQUENCE_BITS | int(answer["_seq_no"])


def _expected(revision: int) -> dict[str, int]:
    term = revision >> _SEQUENCE_BITS & ((1 << _TERM_BITS) - 1)
    return {"if_primary_term": term, "if_seq_no": revision & ((1 << _SEQUENCE_BITS) - 1)}


def _call(budget: Budget) -> Call:
    return Call(budget, CatalogueUnavailable, PLACE)


def _head_key(tenant: str, name: str) -> str:
    return key_of(HEAD, tenant, name)


def _head_source(head: CollectionHead) -> dict[str, Any]:
    return {
        "kind": HEAD,
        "tenant": head.tenant,
        "name": head.name,
        "generation": head.snapshot.generation,
        "body": {
            "uid": head.snapshot.uid,
            "high": head.snapshot.high,
            "excluded": head.snapshot.excluded,
            "dead": sorted(head.snapshot.dead),
            "embedder": head.embedder_fingerprint,
            # As pairs: names hold dots, which would be read as objects within objects.
            "fields": [[name, kind.value] for name, kind in head.fields.items()],
            "open": [[number, owner] for number, owner in head.open_numbers.items()],
            "created_at": to_micros(head.created_at),
            "updated_at": to_micros(head.updated_at),
            "staged": astuple(head.staged) if head.staged else None,
            "mirror": head.mirror,
            **upkeep_source(head),
        },
    }


def _head(source: dict[str, Any], revision: int) -> CollectionHead:
    body = source["body"]
    return CollectionHead(
        tenant=source["tenant"],
        name=source["name"],
        snapshot=Snapshot(
            uid=body["uid"],
            generation=source["generation"],
            high=body["high"],
            excluded=tuple((first, last) for first, last in body["excluded"]),
            dead=frozenset(body["dead"]),
        ),
        embedder_fingerprint=body["embedder"],
        fields={name: FieldType(kind) for name, kind in body["fields"]},
        open_numbers={int(number): owner for number, owner in body["open"]},
        created_at=from_micros(body["created_at"]),
        updated_at=from_micros(body["updated_at"]),
        revision=revision,
        staged=Staged(*body["staged"]) if body.get("staged") else None,
        mirror=body.get("mirror", ""),  # heads from before there were mirrors have none
        **read_upkeep(body),
    )
