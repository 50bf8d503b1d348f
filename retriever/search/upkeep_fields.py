"""What a head holds only while a reindex is under way or kept, as JSON: the same in every catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from chassis.errors import CatalogueUnavailable
from retriever.types import Build, CollectionHead, Retired, Snapshot


@contextmanager
def readable_head(place: str) -> Iterator[None]:
    """Around the reading of a head: one of another shape is not ours to guess at, and never taken for absent."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as exc:
        raise CatalogueUnavailable(
            f"{place}: a collection's head cannot be read by this version: run `askmesh collections verify --all`"
        ) from exc


def upkeep_source(head: CollectionHead) -> dict[str, Any]:
    """Nothing for a head that no reindex concerns, as older versions wrote it."""
    found: dict[str, Any] = {}
    if head.held_by:
        found["held_by"] = head.held_by
    if head.build:
        found["build"] = [head.build.of_uid, head.build.runner, head.build.recipe]
    if head.retired:
        kept = head.retired
        found["retired"] = {
            **snapshot_source(kept.snapshot),
            "embedder": kept.embedder_fingerprint,
            "keep_until": kept.keep_until.isoformat(),
        }
    return found


def read_upkeep(body: dict[str, Any]) -> dict[str, Any]:
    """CollectionHead's fields from what `upkeep_source` gave."""
    kept = body.get("retired")
    return {
        "held_by": body.get("held_by", ""),
        "build": Build(*body["build"]) if "build" in body else None,
        "retired": None
        if kept is None
        else Retired(read_snapshot(kept), kept["embedder"], datetime.fromisoformat(kept["keep_until"])),
    }


def snapshot_source(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "uid": snapshot.uid,
        "generation": snapshot.generation,
        "high": snapshot.high,
        "excluded": snapshot.excluded,
        "dead": sorted(snapshot.dead),
    }


def read_snapshot(body: dict[str, Any]) -> Snapshot:
    return Snapshot(
        uid=body["uid"],
        generation=body["generation"],
        high=body["high"],
        excluded=tuple((first, last) for first, last in body["excluded"]),
        dead=frozenset(body["dead"]),
    )
