"""Manifests: the documents of a bulk ingest, one JSON line each, and which shard takes which.

    {"document_id": "handbook/leave.md", "place": "s3://bucket/handbook/leave.md", "size_bytes": 4711, "etag": "9b2c.."}

Rule 1: which shard a document belongs to follows from its id alone, so that shards need not talk to each other and a
        shard that is started again takes the same ones.
Rule 2: a manifest is read line by line, however long it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from askmesh.documents import SUFFIXES
from askmesh.places import found_below, open_read
from chassis.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a manifest; `etag` is "" where there is none."""

    document_id: str
    place: str
    size_bytes: int
    etag: str

    @property
    def line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Shard:
    """The index-th of `count` equal parts of a manifest."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str, default_index: str) -> Shard:
        """ "I/N"; in "/N" the index is the default, an Indexed Job's JOB_COMPLETION_INDEX. Raises InvalidRequest."""
        index, _, count = text.partition("/")
        index = index or default_index
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise InvalidRequest.field("shard", "write I/N with I from 0 to N - 1, or /N in an Indexed Job")
        return cls(int(index), int(count))

    def takes(self, document_id: str) -> bool:
        digest = hashlib.blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    @property
    def name(self) -> str:
        return f"{self.index}-of-{self.count}"


def entries_below(root: str) -> Iterator[Entry]:
    """Every document file below a folder or URL, hidden ones left out; the id is the path below it. Raises OSError."""
    for found in found_below(root):
        path = PurePosixPath(found.below)
        is_hidden = any(part.startswith(".") for part in path.parts)
        if not is_hidden and path.suffix.lower() in SUFFIXES:
            yield Entry(found.below, found.place, found.size_bytes, found.etag)


def read_manifest(place: str, shard: Shard) -> Iterator[Entry]:
    """The shard's entries, in the manifest's order.

    Raises:
        InvalidRequest: a line is none.  DocumentUnreadable: the manifest cannot be read.
    """
    with open_read(place) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                entry = _entry(line, number)
                if shard.takes(entry.document_id):
                    yield entry


def _entry(line: bytes, number: int) -> Entry:
    try:
        row: dict[str, Any] = json.loads(line)
        entry = Entry(row["document_id"], row["place"], row["size_bytes"], row.get("etag", ""))
        if not (
            entry.document_id and all(isinstance(each, str) for each in (entry.document_id, entry.place, entry.etag))
        ):
            raise TypeError
        if not isinstance(entry.size_bytes, int):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidRequest.field(
            f"manifest line {number}", "is no entry: make manifests with `askmesh ingest manifest`"
        ) from None
    return entry
