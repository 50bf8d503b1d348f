"""How askmesh lies in Weaviate: a class for each embedder, a Weaviate tenant for each tenant and collection.

Rule 1: a class holds the vectors of one embedder (its fingerprint) in one version of this layout; it is never altered.
        Another version writes to another class; `collections reindex` moves.
Rule 2: a Weaviate tenant is a shard of its own: an index, a filter and a deletion touch nothing of another.
Rule 3: an object's id follows from its chunk's: writing it again replaces it by itself.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, Final

from retriever.search.weaviate.conditions import BORN, FACTS, GROUPS, POSITION, VERSION
from retriever.search.weaviate.terms import BUILTIN_PROPERTIES, SLOTS

LAYOUT_VERSION: Final = 2  # what raises it raises one of opensearch.layout.VERSIONS too
CLASS_PREFIX: Final = "Askmesh_"
OLD_CLASS_PREFIX: Final = f"{CLASS_PREFIX}1_"
TENANT_DIGEST: Final = 31  # beside a namespace of 32 characters at most
CHUNK: Final = "chunk"
DOCUMENT: Final = "document"
# Below so many candidates Weaviate computes every distance instead of walking its graph: exact, and faster than a walk
# in which few nodes pass the filter. Weaviate's own default; the measurement is in docs/decisions/0072.
FLAT_SEARCH_CUTOFF: Final = 40_000
# Walks the graph as if there were no filter and keeps what passes. "acorn", the default, jumps over what does not pass:
# at 1 % passing it found .92 of what there was where this found 1.00, in 4 ms instead of 19 (20k vectors, 2 cores).
FILTER_STRATEGY: Final = "sweeping"
_OBJECT_IDS: Final = uuid.UUID("5d0f3c0e-6f0b-5f5e-9d0a-0c5f4f0a7e11")


def class_name(fingerprint: str) -> str:
    """The class of an embedder's vectors."""
    return f"{CLASS_PREFIX}{LAYOUT_VERSION}_{hashlib.sha256(fingerprint.encode()).hexdigest()[:32]}"


def tenant_name(namespace: str, tenant: str, uid: str) -> str:
    """The shard of one collection: whose it is, and a digest, within the 64 plain characters that Weaviate allows."""
    digest = hashlib.sha256(json.dumps([tenant, uid]).encode()).hexdigest()
    return f"{namespace}-{digest[:TENANT_DIGEST]}"


def old_tenant_name(namespace: str, tenant: str, uid: str) -> str:
    """The shard of one collection in layout 1, which did not say whose it was."""
    return hashlib.sha256(json.dumps([namespace, tenant, uid]).encode()).hexdigest()


def object_id(chunk_id: str) -> str:
    """Unique within a shard."""
    return str(uuid.uuid5(_OBJECT_IDS, chunk_id))


MARKER_ID: Final = object_id("marker")  # no chunk's id is that word


def class_definition(name: str) -> dict[str, Any]:
    """The class as Weaviate's schema endpoint takes it."""
    return {
        "class": name,
        "vectorizer": "none",
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {
            "distance": "cosine",
            "flatSearchCutoff": FLAT_SEARCH_CUTOFF,
            "filterStrategy": FILTER_STRATEGY,
        },
        "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": True},
        "invertedIndexConfig": {"stopwords": {"preset": "none"}},
        "properties": [
            *(_number(each) for each in (BORN, VERSION, POSITION)),
            *(_words(each, "text[]") for each in (GROUPS, FACTS)),
            *(_words(each, "text") for each in (*BUILTIN_PROPERTIES.values(), *SLOTS)),
            *(_kept(each) for each in (CHUNK, DOCUMENT)),
        ],
    }


def _number(name: str) -> dict[str, Any]:
    """Looked up by value, and by range in a fixed number of steps."""
    return {"name": name, "dataType": ["int"], "indexFilterable": True, "indexRangeFilters": True}


def _words(name: str, kind: str) -> dict[str, Any]:
    """Whole words for filters; no full text index."""
    return {
        "name": name,
        "dataType": [kind],
        "tokenization": "field",
        "indexFilterable": True,
        "indexSearchable": False,
    }


def _kept(name: str) -> dict[str, Any]:
    """Only handed back."""
    return {"name": name, "dataType": ["text"], "indexFilterable": False, "indexSearchable": False}
