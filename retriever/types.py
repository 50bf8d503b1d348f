"""The retriever's nouns. No wire, no store: plain frozen values.

Rule 1: no chunk is ever changed. A version of a document is written once, under a number, and only ever hidden.
Rule 2: visibility is arithmetic on a snapshot (`Snapshot.sees`), the same in every store and re-checked after fusion.
Rule 3: offsets count Unicode code points of the document's extracted text: text[start_char:end_char] is the chunk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Scalar = str | float | bool | datetime
"""A metadata value: string, number (float), bool, or an aware UTC datetime at microseconds."""

Metadata = Mapping[str, Scalar]

VERSION_BITS = 16  # ordinals of one transaction: 65,536 documents
DEAD_LIMIT = 1_000  # design.md section 4: versions replaced or deleted and not yet purged


def version_of(number: int, ordinal: int) -> int:
    """The version of the ordinal-th document of transaction `number`: unique in its collection, ordered by number."""
    return (number << VERSION_BITS) | ordinal


def born_of(version: int) -> int:
    """The transaction number a version was written under."""
    return version >> VERSION_BITS


class FieldType(StrEnum):
    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    TIME = "time"


BUILTIN_FIELDS: Mapping[str, FieldType] = {
    "document_id": FieldType.STRING,
    "title": FieldType.STRING,
    "uri": FieldType.STRING,
    "source": FieldType.STRING,
    "content_type": FieldType.STRING,
    "section": FieldType.STRING,  # of the chunk
    "page": FieldType.NUMBER,  # of the chunk
}
CHUNK_FIELDS = frozenset({"section", "page"})


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    IN = "in"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Comparison:
    """field OPERATOR value; IN takes `values`, EXISTS takes none."""

    field: str
    operator: Operator
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


Filter = And | Or | Not | Comparison
EVERYTHING: Filter = And()


@dataclass(frozen=True, slots=True)
class Chunk:
    """One searchable piece of one document version.

    Attributes:
        chunk_id: f"{version:x}.{position}" within its collection uid: N is in it, so it is never reused.
        version: See `version_of`.
        position: 0-based order within the document.
        embed_text: What was embedded and indexed beside `text` (title and section prepended); may equal `text`.
    """

    chunk_id: str
    version: int
    position: int
    text: str
    embed_text: str
    section: str
    page: int
    start_char: int
    end_char: int


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One version of a document, as the catalogue keeps it; visible by the same arithmetic as its chunks."""

    document_id: str
    version: int
    title: str
    uri: str
    source: str
    content_type: str
    metadata: Metadata
    groups: tuple[str, ...]
    content_hash: str
    chunk_count: int
    text_chars: int
    size_bytes: int
    updated_at: datetime
    source_hash: str = ""  # of what its owner sent, whatever it was made into; "" where an older version stored it

    @property
    def identity(self) -> str:
        """Equal for versions of one document that were made from the same source, here or in a build of this."""
        return self.source_hash or f"content {self.content_hash}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a reader sees; the collection's head, changed only by compare-and-swap.

    A version v is visible when born_of(v) <= high, born_of(v) lies in no excluded range and v is not dead.

    Attributes:
        uid: The collection's own id; never reused.
        generation: G, +1 with every commit; (uid, generation) names exactly one visible state.
        high: The largest number given out.
        excluded: Open and aborted numbers as inclusive (first, last) ranges, sorted and merged.
        dead: Versions replaced or deleted and not yet purged, at most DEAD_LIMIT.
    """

    uid: str
    generation: int = 0
    high: int = 0
    excluded: tuple[tuple[int, int], ...] = ()
    dead: frozenset[int] = frozenset()

    def sees(self, version: int) -> bool:
        born = born_of(version)
        if born > self.high or version in self.dead:
            return False
        at = bisect_right(self.excluded, born, key=itemgetter(0))  # the last range that begins at or before it
        return at == 0 or self.excluded[at - 1][1] < born


@dataclass(frozen=True, slots=True)
class Staged:
    """Contents that one process writes beside a collection's visible ones, to take their place by one swap.

    Attributes:
        uid: Their own; no snapshot names it yet.
        owner: The process that writes them.
        beats: Grows while it does; when it stands still the writer is dead, and the janitor removes what it left.
    """

    uid: str
    owner: str
    beats: int = 0


@dataclass(frozen=True, slots=True)
class Build:
    """What makes a head one of a collection that is built beside another (retriever.upkeep.reindex); nobody reads it.

    Attributes:
        of_uid: The uid it is to replace.
        runner: Who alone may write to it; nobody once it is sealed.
        recipe: Embedder, parser and chunker it is made with.
    """

    of_uid: str
    runner: str
    recipe: str


@dataclass(frozen=True, slots=True)
class Retired:
    """What a reindex replaced, kept for a rollback until `keep_until` by the wall clock."""

    snapshot: Snapshot
    embedder_fingerprint: str
    keep_until: datetime


BUILD_SUFFIX = "@build"  # no caller's collection has this in its name


@dataclass(frozen=True, slots=True)
class CollectionHead:
    """A collection's record in the catalogue: its snapshot, and what its first document fixed.

    Attributes:
        embedder_fingerprint: "" = lexical only.
        open_numbers: Open transactions: number -> owner, for the aborter.
        revision: The compare-and-swap token; 0 = not stored yet.
        staged: What may take the place of the snapshot's uid; readers never see it.
        held_by: While a reindex takes its last step, its name: commits wait for its end. "" otherwise.
        retired: What a rollback would bring back.
        build: Of a collection that is being built; None for all that callers see.
        mirror: The snapshot mirror that may hold this head (retriever.ingest.mirrored); "" = none does.
    """

    tenant: str
    name: str
    snapshot: Snapshot
    embedder_fingerprint: str
    fields: Mapping[str, FieldType]
    open_numbers: Mapping[int, str]
    created_at: datetime
    updated_at: datetime
    revision: int = 0
    staged: Staged | None = None
    held_by: str = ""
    retired: Retired | None = None
    build: Build | None = None
    mirror: str = ""

    @property
    def uids(self) -> tuple[str, ...]:
        """Every uid whose data this head keeps."""
        others = (self.staged.uid if self.staged else "", self.retired.snapshot.uid if self.retired else "")
        return (self.snapshot.uid, *filter(None, others))


@dataclass(frozen=True, slots=True)
class Lease:
    """A named right held by one process at a time; whether it has expired is judged by watching `beats` stand still.

    Attributes:
        name: What it is the right to ("janitor").
        owner: The process that holds it.
        beats: Grows each time the holder renews it.
        revision: The compare-and-swap token; 0 = not stored yet.
    """

    name: str
    owner: str
    beats: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that limits what one search may see; enforced inside the store and checked again after fusion."""

    tenant: str
    snapshot: Snapshot
    groups: tuple[str, ...]
    filter: Filter = EVERYTHING
    fields: Mapping[str, FieldType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk a leg found, with what the fusion, the re-check and the reply need of it."""

    chunk: Chunk
    document: DocumentRecord
    score: float  # the leg's own: cosine, or BM25 with larger = better


@dataclass(frozen=True, slots=True)
class LegScore:
    rank: int  # 1-based
    score: float


@dataclass(frozen=True, slots=True)
class Passage:
    chunk: Chunk
    document: DocumentRecord
    score: float
    dense: LegScore | None = None
    lexical: LegScore | None = None
    rerank: LegScore | None = None


class Legs(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


class DegradedReason(StrEnum):
    LEXICAL_UNAVAILABLE = "LEXICAL_UNAVAILABLE"
    DENSE_UNAVAILABLE = "DENSE_UNAVAILABLE"
    EMBEDDER_UNAVAILABLE = "EMBEDDER_UNAVAILABLE"
    RERANK_SKIPPED = "RERANK_SKIPPED"
    CATALOGUE_UNAVAILABLE = "CATALOGUE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Degradation:
    stage: str
    reason: DegradedReason
    effect: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class QueryVector:
    """A query's vector and the fingerprint of the embedder it came from."""

    fingerprint: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    collection: str
    text: str
    top_k: int = 5
    filter: Filter = EVERYTHING
    legs: Legs = Legs.HYBRID
    vector: QueryVector | None = None
    min_generation: int = 0


@dataclass(frozen=True, slots=True)
class Retrieval:
    passages: tuple[Passage, ...]
    snapshot: Snapshot
    embedder_fingerprint: str
    degraded: tuple[Degradation, ...]
    timings_ms: Mapping[str, float]
    rejected_hits: int = 0  # hits a store should not have returned: always 0 unless a store is wrong


class Outcome(StrEnum):
    STORED = "STORED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True)
class PutResult:
    outcome: Outcome
    generation: int
    record: DocumentRecord
