"""The head of a collection that is built beside another: who may write to it, and how it comes to be and to an end.

A build is a collection under a name that no caller can use (BUILD_SUFFIX), with numbers, transactions and a head of its
own, so that everything that makes writing safe makes building safe.

Rule 1: one run writes to it: the head names the runner, and every step of a transaction requires it. A run that was
        stopped and goes on later is refused at its next step, and what it had buffered carries a dead number.
Rule 2: it is sealed before it is put in place: then nobody may write to it, so its numbers cannot be given out twice,
        once here and once by the collection it becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from retriever.ingest.ledger import aborted
from retriever.ingest.transactions import NotAdmitted
from retriever.types import BUILD_SUFFIX, Build, CollectionHead, Retired, Snapshot

SEALED = "sealed by "  # no run is called that
LOST = "another run has taken this reindex over: watch that one"


def build_name(name: str) -> str:
    """The name of a collection's build."""
    return name + BUILD_SUFFIX


def started(original: CollectionHead, build: Build, snapshot: Snapshot, fingerprint: str) -> CollectionHead:
    """A fresh build; its generation begins where the original's is, so that it is never taken for empty."""
    return CollectionHead(
        tenant=original.tenant,
        name=build_name(original.name),
        snapshot=replace(snapshot, generation=original.snapshot.generation),
        embedder_fingerprint=fingerprint,
        fields=original.fields,
        open_numbers={},
        created_at=original.created_at,
        updated_at=original.updated_at,
        build=build,
    )


def taken_over(head: CollectionHead, runner: str) -> CollectionHead:
    """The build in the hands of one run ("": of none); what others left open in it is aborted."""
    assert head.build is not None
    return replace(aborted(head, set(head.open_numbers)), build=replace(head.build, runner=runner))


def sealed_by(head: CollectionHead, *, runner: str) -> CollectionHead:
    """The build that its own run writes to no more. Raises NotAdmitted where it is another's."""
    only(runner)(head)
    return taken_over(head, SEALED + runner)


def unsealed_by(head: CollectionHead, *, runner: str) -> CollectionHead | None:
    """The build in its run's hands again; None where that run did not seal it: another one may be about to swap."""
    is_ours = head.build is not None and head.build.runner == SEALED + runner
    return taken_over(head, runner) if is_ours else None


def only(runner: str) -> Callable[[CollectionHead | None], None]:
    """What a transaction of this run requires of the build's head (see Transactions.admits)."""

    def admits(head: CollectionHead | None) -> None:
        if head is None or head.build is None or head.build.runner != runner:
            raise NotAdmitted(LOST, retry_after_s=15.0)

    return admits


def handed_back(original: CollectionHead, build: CollectionHead) -> CollectionHead | None:
    """The original with what a rollback that was given up did to the uid it keeps: numbers that were used there and
    versions that died there; None for any other build."""
    kept = original.retired
    if kept is None or kept.snapshot.uid != build.snapshot.uid:
        return None
    return replace(original, retired=replace(kept, snapshot=build.snapshot))


def in_place(
    original: CollectionHead, build: CollectionHead, *, now: datetime, keep_until: datetime | None
) -> CollectionHead:
    """The original's head with the build in its place; G goes on from whichever is ahead.

    Args:
        keep_until: What was there is kept until then for a rollback; None: it is not.
    """
    assert build.build is not None
    assert build.build.runner.startswith(SEALED), "sealed first"
    kept = None if keep_until is None else Retired(original.snapshot, original.embedder_fingerprint, keep_until)
    generation = max(original.snapshot.generation, build.snapshot.generation) + 1
    return replace(
        original,
        snapshot=replace(build.snapshot, generation=generation),
        embedder_fingerprint=build.embedder_fingerprint,
        open_numbers={},
        updated_at=now,
        held_by="",
        retired=kept,
    )
