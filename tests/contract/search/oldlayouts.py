"""Turns an installation on the real servers into one of an older layout: old mappings and names, equal documents."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from retriever.search.opensearch.layout import CATALOGUE, CHUNKS, RECORDS, TEXTS, VERSIONS, template
from retriever.search.weaviate import Engine
from retriever.search.weaviate.layout import (
    OLD_CLASS_PREFIX,
    class_definition,
    class_name,
    old_tenant_name,
    tenant_name,
)
from retriever.search.weaviate.migration import WeaviateMigration
from retriever.search.weaviate.objects import HIT_PROPERTIES, Shard, batch, hit_of, marker, vector_of
from tests.contract.search.samples import TENANT, budget


def request(method: str, url: str, body: Any = None) -> Any:
    data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    kind = "application/x-ndjson" if isinstance(body, str) else "application/json"
    asked = urllib.request.Request(url, method=method, data=data, headers={"Content-Type": kind})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read())


def age_opensearch(address: Any, engine: Any) -> list[str]:
    """Every index of the installation one layout version older; returns the names of those there are now."""
    made = []
    for index, body in request("GET", f"{address.url}/{address.prefix}-*").items():
        kind = index.removeprefix(f"{address.prefix}-").partition("-")[0]
        old = index.replace(f"-v{VERSIONS[kind]}", f"-v{VERSIONS[kind] - 1}")
        shape = template(engine, kind)["template"]
        shape["mappings"] = _older(kind, shape["mappings"])
        request("PUT", f"{address.url}/{old}", shape)
        _copy(address.url, index, old, drop="outline" if kind == TEXTS else "")
        [alias] = body["aliases"]
        actions = [
            {"remove": {"index": index, "alias": alias}},
            {"add": {"index": old, "alias": alias, "is_write_index": True}},
        ]
        request("POST", f"{address.url}/_aliases", {"actions": actions})
        request("DELETE", f"{address.url}/{index}")
        made.append(old)
    return made


def _older(kind: str, mappings: dict[str, Any]) -> dict[str, Any]:
    """Texts as version 1 had them; the others have no older version yet: chunks as if they had known no pairs."""
    properties = dict(mappings["properties"])
    match kind:
        case "texts":
            del properties["outline"]
        case "chunks":
            properties["text"] = {"type": "text", "analyzer": "words"}  # no pairs
        case "catalogue" | "records":
            pass
    version = {CATALOGUE: 0, RECORDS: 0, TEXTS: 1, CHUNKS: 0}[kind]
    return {**mappings, "properties": properties, "_meta": {"version": version}}


def _copy(url: str, index: str, old: str, *, drop: str) -> None:
    request("POST", f"{url}/{index}/_refresh")
    hits = request("POST", f"{url}/{index}/_search", {"size": 10_000})["hits"]["hits"]
    lines = []
    for hit in hits:
        routing = {"routing": hit["_routing"]} if "_routing" in hit else {}
        source = {name: value for name, value in hit["_source"].items() if name != drop}
        lines += [json.dumps({"index": {"_id": hit["_id"], **routing}}), json.dumps(source)]
    if lines:
        answer = request("POST", f"{url}/{old}/_bulk?refresh=true", "".join(f"{line}\n" for line in lines))
        assert not answer["errors"], answer


async def age_weaviate(engine: Engine, namespace: str, uid: str, fingerprint: str, *, tenant: str = TENANT) -> Shard:
    """One collection's shard as layout 1 had it."""
    now = Shard(class_name(fingerprint), tenant_name(namespace, tenant, uid))
    old = Shard(f"{OLD_CLASS_PREFIX}{now.name.rpartition('_')[2]}", old_tenant_name(namespace, tenant, uid))
    await engine.create_class(class_definition(old.name), budget=budget())
    pages = WeaviateMigration(engine, None, namespace=namespace)._pages(now, HIT_PROPERTIES, budget())  # type: ignore[arg-type]
    async for page in pages:
        hits = [hit_of(each) for each in page]
        vectors = [vector_of(each) for each in page]
        rows = [(hit.document, hit.chunk) for hit in hits]
        await engine.store(batch(old, rows, vectors), budget=budget())  # type: ignore[arg-type]
    await engine.store([marker(old)], budget=budget())
    await engine.drop_tenant(now.name, now.tenant, budget=budget())
    return old
