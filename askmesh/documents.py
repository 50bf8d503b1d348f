"""Documents as the client sends and sees them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, Protocol

from rag.retriever.v1 import collection_pb2
from rag.retriever.v1 import document_pb2 as pb

from askmesh.answers import name_of
from askmesh.filters import Scalar, metadata_value
from chassis import status
from chassis.errors import RagError

Document = pb.Document
Collection = collection_pb2.Collection

PART_BYTES = 512 * 1024  # the contract allows 1 MiB a part; half of it keeps more documents in flight
WHOLE_BYTES = 512 * 1024  # up to this size a document travels in one message

SUFFIXES = frozenset(
    """
    .md .markdown .txt .text .log .rst .html .htm .xhtml .pdf .docx .pptx .xlsx .csv .tsv .json .jsonl .ndjson
    """.split()  # noqa: SIM905 - a column of quotes hides them
)
"""File name endings that `files_below` picks up: those the retriever knows."""
TAKEN = "md, txt, rst, html, pdf, docx, pptx, xlsx, csv, tsv, json and jsonl"  # the same, as people are told


class Openable(Protocol):
    """A pathlib.Path, or a file somewhere else."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """The file's bytes. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A document to store.

    Attributes:
        document_id: 1 to 512 characters; slashes are welcome.
        data: The content: bytes, text, or a file (a path or what opens like one) that is read in parts in its turn.
        groups: Who may read it; empty means everybody in the tenant.
    """

    document_id: str
    data: bytes | str | Openable
    title: str = ""
    uri: str = ""
    source: str = ""
    content_type: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of one document: `outcome` is STORED, UNCHANGED or FAILED; `error` only with FAILED."""

    index: int
    document_id: str
    outcome: str
    generation: int
    chunk_count: int
    error: RagError | None


def result_of(message: pb.IngestDocumentsResponse) -> IngestResult:
    """The result in a stream message."""
    return IngestResult(
        index=message.index,
        document_id=message.document_id,
        outcome=name_of(pb.IngestOutcome.DESCRIPTOR, message.outcome, "INGEST_OUTCOME_"),
        generation=message.generation,
        chunk_count=message.chunk_count,
        error=status.from_rpc_status(message.error) if message.HasField("error") else None,
    )


def messages_of(document: DocumentFile, collection: str) -> Iterator[pb.IngestDocumentsRequest]:
    """A document in the request stream: whole when small, in parts when large, a file read one part at a time.

    Raises:
        OSError: the file cannot be read.  ValueError: a value has no place in a message.
    """
    head = pb.DocumentInput(
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        source=document.source,
        content_type=document.content_type,
        metadata={name: metadata_value(value) for name, value in document.metadata.items()},
        groups=document.groups,
    )
    if isinstance(document.data, str):
        head.text = document.data
        if len(document.data) <= WHOLE_BYTES // 4:  # at most 4 bytes a character in UTF-8
            yield pb.IngestDocumentsRequest(collection=collection, document=head)
            return
        if not head.content_type:
            head.content_type = "text/markdown" if head.document_id.endswith(".md") else "text/plain"
        head.ClearField("content")
    parts = _parts(document.data)
    first = next(parts, b"")
    second = next(parts, None)
    head.data = first
    head.has_parts = second is not None
    yield pb.IngestDocumentsRequest(collection=collection, document=head)
    while second is not None:
        following = next(parts, None)
        part = pb.DocumentPart(data=second, is_last=following is None)
        yield pb.IngestDocumentsRequest(part=part)
        second = following


def _parts(data: bytes | str | Openable) -> Iterator[bytes]:
    if not isinstance(data, bytes | str):
        with data.open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part
        return
    content = data.encode() if isinstance(data, str) else data
    for start in range(0, len(content), PART_BYTES):
        yield content[start : start + PART_BYTES]


def files_below(root: Path) -> Iterator[DocumentFile]:
    """Every readable document file under a folder (or the one file), sorted by path; the id is the path below the root.

    Files and folders whose name begins with a dot are left out. Bytes of a name that are not UTF-8 show as "\\xff".
    """
    if root.is_file():
        name = _shown(root.name)
        yield DocumentFile(document_id=name, data=root, source=_shown(root.parent.name), uri=name)
        return
    for path in _shown_files(root):
        if path.suffix.lower() in SUFFIXES:
            name = _shown(path.relative_to(root).as_posix())
            yield DocumentFile(document_id=name, data=path, source=_shown(root.name), uri=name)


def left_out_below(root: Path) -> Counter[str]:
    """How many files of which ending `files_below` leaves out under a folder; "" for those without one."""
    if root.is_file():
        return Counter()
    return Counter(_shown(end) for path in _shown_files(root) if (end := path.suffix.lower()) not in SUFFIXES)


def _shown_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if not any(part.startswith(".") for part in path.relative_to(root).parts) and path.is_file():
            yield path


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
