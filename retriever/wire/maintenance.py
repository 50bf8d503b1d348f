"""MaintenanceService's messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from rag.retriever.v1 import maintenance_pb2 as pb

from retriever.upkeep.findings import DENSE, LEXICAL, CollectionReport, Finding, MigrationReport, Progress
from retriever.upkeep.reindex import ReindexReport
from retriever.upkeep.stores import StoresReport
from retriever.wire import checks
from retriever.wire.checks import Violations

MAX_FINDINGS: Final = 1_000
DEFAULT_KEEP: Final = timedelta(days=7)
MAX_KEEP: Final = timedelta(days=366)


def to_collection(name: str) -> str:
    """A collection's name. Raises InvalidRequest."""
    found = Violations()
    checks.collection(name, found)
    found.check()
    return name


def to_keep(request: pb.ReindexCollectionRequest) -> timedelta | None:
    """How long the old build is kept; None: not at all. Raises InvalidRequest, for the name too."""
    found = Violations()
    checks.collection(request.collection, found)
    if request.keep_seconds > MAX_KEEP.total_seconds():
        found.add("keep_seconds", f"must be at most {int(MAX_KEEP.total_seconds())}")
    found.check()
    if request.keep_seconds < 0:
        return None
    return timedelta(seconds=request.keep_seconds) if request.keep_seconds else DEFAULT_KEEP


def from_progress(progress: Progress) -> pb.UpkeepProgress:
    return pb.UpkeepProgress(stage=progress.stage, done=progress.done, total=progress.total)


def from_report(report: CollectionReport) -> pb.CollectionReport:
    return pb.CollectionReport(
        collection=report.collection,
        uid=report.uid,
        generation=report.generation,
        document_count=report.documents,
        chunk_count=report.chunks,
        dense_chunk_count=report.found.get(DENSE, 0),
        lexical_chunk_count=report.found.get(LEXICAL, 0),
        dead_version_count=report.dead_versions,
        open_transaction_count=report.open_transactions,
        aborted_chunk_count=report.aborted_chunks,
        findings=_shown(report.findings),
        finding_count=len(report.findings),
        repaired_count=_repaired(report.findings),
    )


def from_stores(report: StoresReport) -> pb.VerifyStoresResponse:
    return pb.VerifyStoresResponse(
        findings=_shown(report.findings),
        finding_count=len(report.findings),
        repaired_count=_repaired(report.findings),
    )


def from_reindex(report: ReindexReport) -> pb.ReindexReport:
    return pb.ReindexReport(
        old_uid=report.old_uid,
        new_uid=report.new_uid,
        generation=report.generation,
        embedder_fingerprint=report.embedder_fingerprint,
        document_count=report.documents,
        chunk_count=report.chunks,
        changed_document_count=report.changed,
    )


def from_migration(report: MigrationReport) -> pb.MigrationReport:
    return pb.MigrationReport(migrated_count=report.migrated, current_count=report.current)


def _shown(findings: Sequence[Finding]) -> Iterable[pb.UpkeepFinding]:
    return [_finding(each) for each in findings[:MAX_FINDINGS]]


def _finding(finding: Finding) -> pb.UpkeepFinding:
    return pb.UpkeepFinding(
        kind=getattr(pb, f"UPKEEP_FINDING_KIND_{finding.kind.value}"),
        store=finding.store,
        document_id=finding.document_id,
        version=finding.version,
        count=finding.count,
        is_repaired=finding.is_repaired,
        obstacle=finding.obstacle,
        subject=finding.subject,
    )


def _repaired(findings: Sequence[Finding]) -> int:
    return sum(finding.is_repaired for finding in findings)
