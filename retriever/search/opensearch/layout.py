"""The indexes: their names, mappings and templates, by version.

    <prefix>-catalogue   heads and leases, by realtime get alone (listing refreshes first)
    <prefix>-records     document versions of all tenants, routed by tenant
    <prefix>-texts       their extracted texts, read by id
    <prefix>-chunks-<k>  one a collection uid: BM25 counts words over an index, and nobody's scores may depend on others

Each name is an alias of an index with the mapping's version in its name (<prefix>-records-v1): readers and writers name
the alias, so that a new version is filled beside the old one and swapped in by one request.
k is a digest of tenant and uid: whoever asks with another tenant asks another index.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from chassis.errors import BackendUnavailable, Conflict, LayoutOutdated
from retriever.search.opensearch.engine import Call, Engine
from retriever.search.words import MAX_TERMS, STOP_WORDS

CATALOGUE: Final = "catalogue"
RECORDS: Final = "records"
TEXTS: Final = "texts"
CHUNKS: Final = "chunks"
PAIRS: Final = "pairs"
# Of each mapping below. Whatever changes one, or what Weaviate keeps, raises at least one of them: a retriever looks at
# these alone when it starts, and `MigrateStores` (migration.py) brings all to the current ones.
# In the order they are made: a new kind goes last (_require_no_losses).
VERSIONS: Final = {CATALOGUE: 1, RECORDS: 1, TEXTS: 2, CHUNKS: 1}

_ALIASED: Final = {"expand_wildcards": "open", "filter_path": "*.aliases,*.mappings._meta"}
_KEYWORD: Final = {"type": "keyword"}
_LONG: Final = {"type": "long"}
_KEPT: Final = {"type": "object", "enabled": False}  # in _source only: nothing in it becomes a field

_MAPPINGS: Final[dict[str, dict[str, Any]]] = {
    CATALOGUE: {
        "kind": _KEYWORD,
        "tenant": _KEYWORD,
        "name": _KEYWORD,
        "generation": _LONG,
        "body": _KEPT,
    },
    RECORDS: {
        "scope": _KEYWORD,
        "document_id": _KEYWORD,
        "version": _LONG,
        "born": _LONG,
        "groups": _KEYWORD,
        "values": _KEYWORD,
        "chunk_count": _LONG,
        "record": _KEPT,
    },
    TEXTS: {
        "scope": _KEYWORD,
        "version": _LONG,
        "text": {"type": "text", "index": False},
        "outline": {"type": "text", "index": False},  # since version 2; absent where older ones stored the text
    },
    CHUNKS: {
        "version": _LONG,
        "born": _LONG,
        "position": _LONG,
        "groups": _KEYWORD,
        "values": _KEYWORD,
        "heading": {"type": "text", "analyzer": "words"},
        "text": {"type": "text", "analyzer": "words", "fields": {PAIRS: {"type": "text", "analyzer": PAIRS}}},
        "piece": _KEPT,
        "record": _KEPT,
    },
}

_STEMS: Final = ["possessive", "lowercase", "asciifolding"]
# The tokenizer keeps "text:word", "os.environ" and "snake_case" whole; whoever asks for one of the words finds them.
_JOINTS: Final = {"char_filter": ["joints"], "tokenizer": "standard"}
_ANALYSIS: Final[dict[str, Any]] = {
    "char_filter": {"joints": {"type": "mapping", "mappings": [f"{joint} => \\u0020" for joint in ":._"]}},
    "filter": {
        "possessive": {"type": "stemmer", "language": "possessive_english"},
        "stems": {"type": "stemmer", "language": "english"},
        "untelling": {"type": "stop", "stopwords": sorted(STOP_WORDS)},
        "neighbours": {"type": "shingle", "min_shingle_size": 2, "max_shingle_size": 2, "output_unigrams": False},
        # A pasted page is not a question; each term costs a walk through its postings.
        "enough": {"type": "limit", "max_token_count": MAX_TERMS},
    },
    "analyzer": {
        "words": {**_JOINTS, "filter": [*_STEMS, "stems"]},
        PAIRS: {**_JOINTS, "filter": [*_STEMS, "stems", "neighbours"]},
        # Stop words are dropped from the question only, never from the index: "The Who" stays findable.
        "question": {**_JOINTS, "filter": [*_STEMS, "untelling", "stems", "unique", "enough"]},
        "bare_question": {**_JOINTS, "filter": [*_STEMS, "stems", "unique", "enough"]},
        "question_pairs": {**_JOINTS, "filter": [*_STEMS, "stems", "neighbours", "unique", "enough"]},
    },
}

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    CATALOGUE: {"number_of_shards": 1, "refresh_interval": "-1"},
    RECORDS: {"number_of_shards": 3, "refresh_interval": "-1"},
    TEXTS: {"number_of_shards": 3, "refresh_interval": "-1"},
    # One shard: statistics are counted by shard, and a collection fits into one many times over.
    CHUNKS: {"number_of_shards": 1, "refresh_interval": "-1", "analysis": _ANALYSIS},
}

# A commit waits until a refresh made all of it visible. Where a cluster replicates segments unless told otherwise, a
# refresh is the primary's alone, and what was acknowledged is missing on the other copies for a while.
_COPIES: Final = {"auto_expand_replicas": "0-1", "replication.type": "DOCUMENT"}


def key_of(*parts: str) -> str:
    """A name for these parts that is safe in a path and in a routing, and that no other parts have."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def chunks_alias(engine: Engine, tenant: str, uid: str) -> str:
    """The alias of one collection's chunks."""
    return f"{engine.prefix}-{CHUNKS}-{key_of(tenant, uid)}"


def chunks_indexes(engine: Engine, key: str) -> str:
    """A pattern of the indexes behind `chunks_alias`, of any version."""
    return f"{engine.prefix}-{CHUNKS}-v*-{key}"


async def create_chunks(engine: Engine, tenant: str, uid: str, call: Call) -> None:
    """Make the index and the alias of one collection's chunks, unless somebody else just did."""
    alias = chunks_alias(engine, tenant, uid)
    await _create(engine, index_behind(engine, alias), alias, call)


async def prepare(engine: Engine, call: Call) -> None:
    """Make the catalogue's indexes.

    Raises:
        LayoutOutdated: some indexes have an older layout.
        CatalogueUnavailable: they are of a newer version, or the cluster is not there.
    """
    await write_templates(engine, call)
    await _require_no_losses(engine, call)
    outdated = await outdated_aliases(engine, call)
    for name in (CATALOGUE, RECORDS, TEXTS):
        alias = f"{engine.prefix}-{name}"
        if alias not in outdated:
            await _create(engine, index_behind(engine, alias), alias, call)
    if outdated:
        raise LayoutOutdated(
            f"{call.place}: its indexes have an older layout: run `askmesh collections migrate`",
            metadata={"indexes": str(len(outdated))},
        )


async def _require_no_losses(engine: Engine, call: Call) -> None:
    """An installation's indexes are made in one order: where a later one is there, an earlier one was lost. Made anew
    it would be empty, say that nothing exists, and have all the rest swept."""
    pattern = ",".join(f"{engine.prefix}-{name}-v*" for name in VERSIONS)
    found = await engine.ask("GET", pattern, call, params=_ALIASED)
    aliases = {alias for body in found.values() for alias in body.get("aliases", ())}
    kinds = [name for name in VERSIONS if name in {kind_of(engine, alias) for alias in aliases}]
    if kinds != list(VERSIONS)[: len(kinds)]:
        raise call.failure(
            f"{call.place}: some of its indexes are missing while others are there: restore them from a snapshot, or "
            "remove what is left of this installation"
        )


async def write_templates(engine: Engine, call: Call) -> None:
    """What new indexes are made by."""
    for name, version in VERSIONS.items():
        await engine.ask("PUT", f"_index_template/{engine.prefix}-{name}-v{version}", call, body=template(engine, name))


async def outdated_aliases(engine: Engine, call: Call) -> dict[str, str]:
    """The aliases of an older layout, each with the index behind it.

    Raises:
        CatalogueUnavailable: an index is of a newer version, or of none.
    """
    found: dict[str, str] = {}
    for name, current in VERSIONS.items():
        pattern = f"{engine.prefix}-{name}-v*"
        for index, body in (await engine.ask("GET", pattern, call, params=_ALIASED)).items():
            if not body.get("aliases"):
                continue  # what a migration left, or a swap that came late for an index that is gone
            version = int(body.get("mappings", {}).get("_meta", {}).get("version", current + 1))
            if version > current:
                raise call.failure(f"{call.place}: its indexes were made by a newer version of askmesh: use that")
            if version < current:
                found |= dict.fromkeys(body["aliases"], index)
    return found


def index_behind(engine: Engine, alias: str) -> str:
    """The index of the current layout behind an alias of ours."""
    name, _, key = alias.removeprefix(f"{engine.prefix}-").partition("-")
    return f"{engine.prefix}-{name}-v{VERSIONS[name]}{'-' if key else ''}{key}"


def kind_of(engine: Engine, alias: str) -> str:
    """Which of the kinds an alias of ours is of."""
    return alias.removeprefix(f"{engine.prefix}-").partition("-")[0]


def is_on_one_shard(name: str) -> bool:
    """Indexes of this kind have one shard."""
    return bool(_SETTINGS[name]["number_of_shards"] == 1)


def template(engine: Engine, name: str) -> dict[str, Any]:
    """What every new index of this kind and version is made by."""
    return {
        "index_patterns": [f"{engine.prefix}-{name}-v{VERSIONS[name]}{'-*' if name == CHUNKS else ''}"],
        "template": {
            "settings": {"index": {**_SETTINGS[name], **_COPIES}},
            "mappings": {"dynamic": "strict", "_meta": {"version": VERSIONS[name]}, "properties": _MAPPINGS[name]},
        },
    }


def missing_indexes(call: Call) -> BackendUnavailable:
    """What a catalogue without its indexes is: not empty, but gone."""
    return call.failure(f"{call.place}: its indexes are missing; start the retriever anew")


async def _create(engine: Engine, index: str, alias: str, call: Call) -> None:
    """Somebody else may be faster; and a swap that came after all indexes were deleted makes one without an alias."""
    written = {"is_write_index": True}
    try:
        await engine.once("PUT", index, call, body={"aliases": {alias: written}})
    except Conflict:
        await engine.ask(
            "POST", "_aliases", call, body={"actions": [{"add": {"index": index, "alias": alias, **written}}]}
        )
