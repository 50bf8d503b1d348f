"""What upkeep needs of the stores beyond reading and writing. Every adapter passes the same acceptance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chassis.budget import Budget
from retriever.documents import TextBlock
from retriever.ports import ChunkStore, CollectionHeads, DocumentRecords, HeadSurvey, Leases
from retriever.types import Chunk, CollectionHead, DocumentRecord, Snapshot
from retriever.upkeep.findings import MigrationReport, Progress

Place = tuple[int, int]
"""Version and position of a chunk."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as the catalogue holds it, visible or not."""

    record: DocumentRecord
    has_text: bool


class RecordAudit(Protocol):
    """The catalogue's documents, whoever may read them."""

    async def versions(
        self, tenant: str, uid: str, among: Sequence[int], *, limit: int, budget: Budget
    ) -> list[StoredVersion]:
        """The versions among these (a `range`: all within its ends) that are stored, ascending, at most `limit`."""
        ...

    async def counts(self, tenant: str, snapshot: Snapshot, *, budget: Budget) -> tuple[int, int]:
        """How many documents the snapshot sees, and how many chunks they have."""
        ...

    async def blocks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> tuple[TextBlock, ...] | None:
        """The structure of a version's text; None where it was stored without. Raises DocumentNotFound."""
        ...


class HeadAudit(HeadSurvey, Protocol):
    async def unreadable(self, *, budget: Budget) -> list[tuple[str, str]]:
        """Tenant and name of every head that `every` leaves out and `get` fails on."""
        ...


class ChunkAudit(Protocol):
    """What one store holds of a collection, visible or not."""

    def found(self, tenant: str, uid: str, *, budget: Budget) -> AsyncIterator[Sequence[Place]]:
        """Every chunk that a search can find, in batches, in any order."""
        ...

    async def chunks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> list[Chunk]:
        """The chunks of one version, by position."""
        ...


class Holdings(Protocol):
    """Everything one store holds of our installation, by collection uid."""

    def name_of(self, tenant: str, uid: str) -> str:
        """What this store calls a collection uid."""
        ...

    async def names(self, *, budget: Budget) -> set[str]:
        """The names of all of which it holds anything."""
        ...

    async def drop_named(self, name: str, *, budget: Budget) -> None:
        """Delete everything under a name; idempotent."""
        ...


class Migrates(Protocol):
    """Brings a set of leaves to the current layout."""

    def migrate(self, *, budget: Budget) -> AsyncIterator[Progress | MigrationReport]:
        """Progress, and at last the report. Raises Conflict while another migration runs."""
        ...


class DenseStore(ChunkStore, ChunkAudit, Protocol):
    """The dense store of one embedder's vectors."""


class LexicalStore(ChunkStore, ChunkAudit, Protocol):
    """The lexical store."""


class UpkeepRecords(DocumentRecords, RecordAudit, Protocol):
    """The catalogue's documents."""


@dataclass(frozen=True, slots=True)
class UpkeepStores:
    """The ports upkeep goes through.

    Attributes:
        heads: As every writer of the process has them: what reads snapshots elsewhere hears of a swap through them.
        survey: All of them, as they are stored.
        dense_for: The dense store for the vectors of an embedder: its fingerprint, and their length where one writes.
        holdings: By the store's name.
    """

    heads: CollectionHeads
    survey: HeadAudit
    records: UpkeepRecords
    leases: Leases
    lexical: LexicalStore
    dense_for: Callable[[str, int], DenseStore]
    holdings: dict[str, Holdings]


STEP_S: Final = 60.0  # of one call of a port; the whole of an upkeep may last hours, a store that hangs must not
END_OF_VERSIONS: Final = 1 << 62  # a number that every store can compare with


async def every_version(
    records: RecordAudit, tenant: str, uid: str, *, limit: int, budget: Budget, first: int = 0
) -> AsyncIterator[list[StoredVersion]]:
    """Every version from `first` on, in pages."""
    while page := await records.versions(
        tenant, uid, range(first, END_OF_VERSIONS), limit=limit, budget=budget.within(STEP_S)
    ):
        yield page
        first = page[-1].record.version + 1


def is_readable(head: CollectionHead | None) -> bool:
    """Something was committed to it, and callers see it."""
    return head is not None and head.snapshot.generation > 0 and head.build is None
