"""What a check finds, and how it is found: arithmetic on two readings of a head and on what lies in the stores. Pure.

Rule 1: reads and writes go on during a check. What is judged is only what both readings of the head, one before
        everything else was read and one after, say the same of.
Rule 2: what either reading says is dead, open or aborted is no fault. A version that died and was purged between them
        looks alive again in the second: so whatever is found is looked at once more (`is_confirmed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from retriever.ingest.ledger import aborted_ranges
from retriever.types import CollectionHead, born_of

if TYPE_CHECKING:
    from retriever.upkeep.ports import Place, StoredVersion

DENSE = "dense"
LEXICAL = "lexical"
CATALOGUE = "catalogue"


class Kind(StrEnum):
    CHUNKS_MISSING = "CHUNKS_MISSING"
    CHUNKS_SURPLUS = "CHUNKS_SURPLUS"
    CHUNKS_GHOST = "CHUNKS_GHOST"
    TEXT_MISSING = "TEXT_MISSING"
    DOCUMENT_DOUBLED = "DOCUMENT_DOUBLED"
    ORPHANED = "ORPHANED"
    HEAD_UNREADABLE = "HEAD_UNREADABLE"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; see rag.retriever.v1.UpkeepFinding."""

    kind: Kind
    store: str
    document_id: str = ""
    version: int = 0
    count: int = 1
    is_repaired: bool = False
    obstacle: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long call is; a total of 0 is not known."""

    stage: str
    done: int
    total: int = 0


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """See rag.retriever.v1.MigrationReport."""

    migrated: int
    current: int


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """See rag.retriever.v1.CollectionReport."""

    collection: str
    uid: str
    generation: int
    documents: int
    chunks: int
    found: Mapping[str, int]
    dead_versions: int
    open_transactions: int
    aborted_chunks: int
    findings: tuple[Finding, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Nothing is wrong, or all of it was repaired."""
        return all(finding.is_repaired for finding in self.findings)


class Row(NamedTuple):
    """What is kept of a record while a whole collection is judged."""

    document_id: str
    chunks: int
    has_text: bool


Positions = int
"""A set of positions as bits: a million chunks are some megabytes."""


@dataclass(slots=True)
class Census:
    """What lies in the catalogue and in the stores, by version."""

    rows: dict[int, Row] = field(default_factory=dict)
    places: dict[str, dict[int, Positions]] = field(default_factory=dict)

    def add_records(self, page: Sequence[StoredVersion]) -> None:
        for each in page:
            record = each.record
            self.rows[record.version] = Row(record.document_id, record.chunk_count, each.has_text)

    def add_places(self, store: str, batch: Sequence[Place]) -> None:
        held = self.places.setdefault(store, {})
        for version, position in batch:
            held[version] = held.get(version, 0) | 1 << position


def judged(census: Census, before: CollectionHead, after: CollectionHead, stores: Sequence[str]) -> CollectionReport:
    """The report of a collection whose uid both readings share; `stores` are those that must hold every chunk."""
    steady = [v for v in census.rows if before.snapshot.sees(v) and after.snapshot.sees(v)]
    expected = {version: (1 << census.rows[version].chunks) - 1 for version in steady}
    findings = [
        *_doubled(census, steady),
        *_without_text(census, steady),
        *(each for store in stores for each in _incomplete(census, store, expected)),
        *(each for store in census.places for each in _ghosts(census, store, before, after)),
    ]
    return CollectionReport(
        collection=after.name,
        uid=after.snapshot.uid,
        generation=after.snapshot.generation,
        documents=len(steady),
        chunks=sum(census.rows[version].chunks for version in steady),
        found={store: _found(census.places.get(store, {}), expected) for store in stores},
        dead_versions=len(after.snapshot.dead),
        open_transactions=len(after.open_numbers),
        aborted_chunks=sum(_aborted(places, before) for places in census.places.values()),
        findings=tuple(findings),
    )


def _found(places: Mapping[int, Positions], expected: Mapping[int, Positions]) -> int:
    return sum((places.get(version, 0) & wanted).bit_count() for version, wanted in expected.items())


def _doubled(census: Census, steady: Sequence[int]) -> Iterator[Finding]:
    newest: dict[str, int] = {}
    for version in sorted(steady, reverse=True):
        name = census.rows[version].document_id
        if newest.setdefault(name, version) != version:
            yield Finding(Kind.DOCUMENT_DOUBLED, CATALOGUE, name, version)


def _without_text(census: Census, steady: Sequence[int]) -> Iterator[Finding]:
    for version in steady:
        row = census.rows[version]
        if not row.has_text:
            yield Finding(Kind.TEXT_MISSING, CATALOGUE, row.document_id, version)


def _incomplete(census: Census, store: str, expected: Mapping[int, Positions]) -> Iterator[Finding]:
    places = census.places.get(store, {})
    for version, wanted in expected.items():
        held, name = places.get(version, 0), census.rows[version].document_id
        if missing := (wanted & ~held).bit_count():
            yield Finding(Kind.CHUNKS_MISSING, store, name, version, missing)
        if surplus := (held & ~wanted).bit_count():
            yield Finding(Kind.CHUNKS_SURPLUS, store, name, version, surplus)


def _ghosts(census: Census, store: str, before: CollectionHead, after: CollectionHead) -> Iterator[Finding]:
    """Chunks without a record that no dead, open or aborted version accounts for: visible, or soon to be."""
    for version, places in census.places[store].items():
        is_seen = before.snapshot.sees(version) and after.snapshot.sees(version)
        if version not in census.rows and (is_seen or born_of(version) > after.snapshot.high):
            yield Finding(Kind.CHUNKS_GHOST, store, version=version, count=places.bit_count())


def lacks_chunks(findings: Sequence[Finding]) -> bool:
    """Whether a store did not find all it should."""
    return any(finding.kind is Kind.CHUNKS_MISSING for finding in findings)


def seen_always(reports: Sequence[CollectionReport]) -> list[Finding]:
    """The last report's findings, of missing chunks only those that every report has."""
    missing = [{_of(each) for each in report.findings if each.kind is Kind.CHUNKS_MISSING} for report in reports]
    always = set.intersection(*missing)
    return [each for each in reports[-1].findings if each.kind is not Kind.CHUNKS_MISSING or _of(each) in always]


def _of(finding: Finding) -> tuple[str, int]:
    return finding.store, finding.version


def is_confirmed(finding: Finding, now: CollectionHead, *, has_record: bool, has_chunks: bool) -> bool:
    """Whether it still holds. The head was read first: a version that it does not call dead and that has a record is
    alive; the purger removes chunks, then the record, then the entry.

    Args:
        has_chunks: The finding's store holds some of the version.
    """
    is_alive = now.snapshot.sees(finding.version)
    if finding.kind is Kind.CHUNKS_GHOST:
        return has_chunks and not has_record and (is_alive or born_of(finding.version) > now.snapshot.high)
    return has_record and is_alive


def _aborted(places: Mapping[int, Positions], head: CollectionHead) -> int:
    ranges = aborted_ranges(head)
    return sum(
        held.bit_count()
        for version, held in places.items()
        if any(first <= born_of(version) <= last for first, last in ranges)
    )
