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

from chassis.errors import BackendUnavailable, Conflict
from retriever.search.opensearch.engine import Call, Engine
from retriever.search.opensearch.failures import IndexAbsent
from retriever.search.words import MAX_TERMS, STOP_WORDS

VERSION: Final = 1  # of every mapping below
CATALOGUE: Final = "catalogue"
RECORDS: Final = "records"
TEXTS: Final = "texts"
CHUNKS: Final = "chunks"
PAIRS: Final = "pairs"

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
    TEXTS: {"scope": _KEYWORD, "version": _LONG, "text": {"type": "text", "index": False}},
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
    key = key_of(tenant, uid)
    await _create(engine, f"{engine.prefix}-{CHUNKS}-v{VERSION}-{key}", chunks_alias(engine, tenant, uid), call)


async def prepare(engine: Engine, call: Call) -> None:
    """Write the templates and make the catalogue's indexes.

    Raises:
        CatalogueUnavailable: they are there in another version, or the cluster is not.
    """
    for name in _MAPPINGS:
        await engine.ask("PUT", f"_index_template/{engine.prefix}-{name}-v{VERSION}", call, body=template(engine, name))
    for name in (CATALOGUE, RECORDS, TEXTS):
        alias = f"{engine.prefix}-{name}"
        found = await _version_of(engine, alias, call)
        if found is None:
            await _create(engine, f"{alias}-v{VERSION}", alias, call)
        elif found != VERSION:
            raise call.failure(
                f"{call.place}: its indexes were made by another version of askmesh: use that, or migrate them"
            )


def template(engine: Engine, name: str) -> dict[str, Any]:
    """What every new index of this kind and version is made by."""
    return {
        "index_patterns": [f"{engine.prefix}-{name}-v{VERSION}{'-*' if name == CHUNKS else ''}"],
        "template": {
            "settings": {"index": {**_SETTINGS[name], "auto_expand_replicas": "0-1"}},
            "mappings": {"dynamic": "strict", "_meta": {"version": VERSION}, "properties": _MAPPINGS[name]},
        },
    }


def missing_indexes(call: Call) -> BackendUnavailable:
    """What a catalogue without its indexes is: not empty, but gone."""
    return call.failure(f"{call.place}: its indexes are missing; start the retriever anew")


async def _create(engine: Engine, index: str, alias: str, call: Call) -> None:
    body = {"aliases": {alias: {"is_write_index": True}}}
    try:
        await engine.once("PUT", index, call, body=body)
    except Conflict:
        return


async def _version_of(engine: Engine, alias: str, call: Call) -> int | None:
    """The version of the mapping behind an alias; None when there is no such alias."""
    try:
        answer = await engine.ask("GET", f"{alias}/_mapping", call)
    except IndexAbsent:
        return None
    versions = {index["mappings"].get("_meta", {}).get("version", 0) for index in answer.values()}
    return int(versions.pop()) if len(versions) == 1 else 0
