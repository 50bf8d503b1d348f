"""How far a shard is: its report, and what it goes on from when it is started again.

Rule 1: results come in the manifest's order, so that one number says which documents are done; a digest of their
        entries says of which.
Rule 2: only a shard that was stopped goes on, with the same documents, the same fields for them and the collection they
        went to. Otherwise, and after it was complete, it begins again, which costs little: equal documents are
        UNCHANGED.
Rule 3: what is kept has a bound: the first MAX_FAILURES failures by name, the rest as a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from askmesh.documents import DocumentFile, IngestResult
from askmesh.manifest import Entry, Shard
from askmesh.places import below, open_read, open_write
from chassis.errors import DocumentUnreadable

FORMAT_VERSION = 1
MAX_FAILURES = 1_000
_NOTHING = hashlib.blake2b(digest_size=16).hexdigest()


@dataclass(slots=True)
class ShardReport:
    """What a shard did so far, over all its starts.

    Attributes:
        fields: A digest of what every document is given besides its content.
        collection_uid: Of the collection they went to: another one of that name has none of them. Empty until it is
            known.
        position: How many of the shard's entries are done, from the first one on.
        digest: Of those entries.
        bytes: Of the documents that were stored or unchanged.
        seconds: At work.
        failures: document id, reason and message of the first ones.
        is_complete: Every entry is done.
    """

    shard: str
    manifest: str
    collection: str
    fields: str = ""
    collection_uid: str = ""
    position: int = 0
    digest: str = _NOTHING
    stored: int = 0
    unchanged: int = 0
    failed: int = 0
    chunks: int = 0
    bytes: int = 0
    seconds: float = 0.0
    starts: int = 0
    documents_per_s: float = 0.0
    failures: list[dict[str, str]] = field(default_factory=list)
    is_complete: bool = False
    askmesh_ingest: int = FORMAT_VERSION

    def took(self, entry: Entry, result: IngestResult) -> None:
        """Count the result of the next entry."""
        self.position += 1
        self.digest = following(self.digest, entry)
        self.chunks += result.chunk_count
        match result.outcome:
            case "STORED":
                self.stored += 1
            case "UNCHANGED":
                self.unchanged += 1
            case _:
                self.failed += 1
                self._remember(entry, result)
                return
        self.bytes += entry.size_bytes

    def begin_again(self) -> None:
        """As if nothing had been done; how often it was started stays."""
        fresh = ShardReport(self.shard, self.manifest, self.collection, self.fields, starts=self.starts)
        for name in fresh.__dataclass_fields__:
            setattr(self, name, getattr(fresh, name))

    def timed(self, seconds: float) -> None:
        """So long it was at work, in this start and the ones before."""
        self.seconds = round(seconds, 3)
        self.documents_per_s = round(self.position / seconds, 2) if seconds else 0.0

    def _remember(self, entry: Entry, result: IngestResult) -> None:
        if len(self.failures) < MAX_FAILURES and result.error is not None:
            error = {"reason": result.error.reason, "message": result.error.message}
            self.failures.append({"document_id": entry.document_id, **error})


def following(digest: str, entry: Entry) -> str:
    """The digest with one more entry."""
    return hashlib.blake2b(f"{digest}\n{entry.line}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def digest_of(template: DocumentFile) -> str:
    """Of what every document of a job is given; its id and content left out."""
    given = [template.title, template.uri, template.source, template.content_type, sorted(template.groups)]
    line = json.dumps([*given, sorted(template.metadata.items())], default=str)
    return hashlib.blake2b(line.encode(), digest_size=16).hexdigest()


def place_of(folder: str, shard: Shard) -> str:
    """Where a shard's report is."""
    return below(folder, f"shard-{shard.name}.json")


def read_report(place: str, fresh: ShardReport) -> ShardReport:
    """The report as an earlier start left it to go on from, or the fresh one where there is none (rule 2)."""
    try:
        with open_read(place) as file:
            row: Mapping[str, Any] = json.loads(file.read())
        found = ShardReport(**row)
    except (DocumentUnreadable, ValueError, TypeError):
        return fresh
    jobs = [(each.shard, each.manifest, each.collection, each.fields, each.askmesh_ingest) for each in (found, fresh)]
    return found if jobs[0] == jobs[1] and not found.is_complete else fresh


def write_report(place: str, report: ShardReport) -> None:
    """Whole or not at all. Raises InvalidRequest."""
    with open_write(place) as file:
        file.write(json.dumps(asdict(report), ensure_ascii=False, indent=2).encode() + b"\n")
