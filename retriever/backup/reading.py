"""Reads an archive piece by piece: bytes in, checked documents out. No I/O here; the format is in archive.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from chassis.errors import ArchiveInvalid, InvalidRequest
from embedding.ports import FloatArray
from retriever.backup.archive import (
    FORMAT_VERSION,
    LINE_BLOCKS,
    LINE_CHUNKS,
    TEXT_CHARS,
    ArchivedDocument,
    ArchiveHeader,
    from_micros,
    scalar_of,
    vectors_of,
)
from retriever.documents import BLOCK_KINDS, TextBlock
from retriever.filters import check_metadata
from retriever.ingest.parsing.limits import DEFAULT_LIMITS
from retriever.types import Chunk, DocumentRecord, FieldType
from retriever.wire import checks
from retriever.wire.checks import Violations

MAX_LINE_BYTES: Final = 8 << 20  # the longest one written has 1.6 MB: a text of TEXT_CHARS, every character escaped
MAX_DIM: Final = 4_096  # no embedder in use has more dimensions
UNIT_NORM_TOLERANCE: Final = 1e-2  # as of a query's vector
_WRONG: Final = (
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
)  # of a line that is not what it should be


class ArchiveReader:
    """One archive: `feed` what comes, `finish` when all came.

    Every method raises ArchiveInvalid for what is not, or not yet, a whole archive.

    Attributes:
        header: None until its line is there.
        document_count, chunk_count: Of the documents handed out so far.
    """

    def __init__(self) -> None:
        self.header: ArchiveHeader | None = None
        self._rest = b""
        self._digest = hashlib.sha256()
        self._line_number = 0
        self._open: _Open | None = None
        self._last_id = ""
        self.document_count = 0
        self.chunk_count = 0
        self._is_ended = False

    def feed(self, data: bytes) -> list[ArchivedDocument]:
        """The documents that these bytes complete; `header` is set once its line is there."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [document for line in lines for document in self._read(line)]
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._invalid(f"a line has more than {MAX_LINE_BYTES} bytes")
        return found

    def finish(self) -> None:
        """All of it came."""
        if self._rest or not self._is_ended:
            raise self._invalid("it is cut off: fetch it again")

    def _read(self, line: bytes) -> Iterator[ArchivedDocument]:
        self._line_number += 1
        with self._checked():
            row = json.loads(line)
            kind = next(iter(row), None)
            if self._is_ended or (self.header is None) != (kind == "askmesh_archive"):
                raise ValueError(kind)
            match kind:
                case "askmesh_archive":
                    self.header = _header(row)
                case "document":
                    yield from self._closed()
                    self._begin(row["document"])
                case "text":
                    self._document().add_text(row["text"])
                case "blocks":
                    self._document().add_blocks(row["blocks"])
                case "chunks":
                    self._document().add_chunks(row["chunks"], row.get("vectors"))
                case "end":
                    yield from self._closed()
                    self._end(row["end"])
                case _:
                    raise ValueError(kind)
        self._digest.update(line + b"\n")

    def _begin(self, row: Mapping[str, Any]) -> None:
        assert self.header is not None
        record = _record(row)
        if record.document_id <= self._last_id:
            raise ValueError("order")
        if check_metadata(record.metadata, self.header.fields) != self.header.fields:
            raise ValueError("fields")
        self._last_id = record.document_id
        self._open = _Open(record, self.header.dim)

    def _document(self) -> _Open:
        if self._open is None:
            raise ValueError("no document")
        return self._open

    def _closed(self) -> Iterator[ArchivedDocument]:
        if self._open is not None:
            document = self._open.closed()
            self._open = None
            self.document_count += 1
            self.chunk_count += len(document.chunks)
            yield document

    def _end(self, sums: Mapping[str, Any]) -> None:
        assert self.header is not None
        self._is_ended = True
        if sums["sha256"] != self._digest.hexdigest():
            raise self._invalid("its content was changed since it was written: fetch it again")
        if (sums["document_count"], sums["chunk_count"]) != (self.document_count, self.chunk_count):
            raise ValueError("sums")
        if self.header.document_count != self.document_count:
            raise ValueError("sums")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except (*_WRONG, InvalidRequest) as exc:
            raise self._invalid("it was changed, or is none") from exc

    def _invalid(self, why: str) -> ArchiveInvalid:
        return ArchiveInvalid(f"the archive is not valid: {why}", metadata={"line": str(self._line_number)})


class _Open:
    """A document whose lines are coming."""

    def __init__(self, record: DocumentRecord, dim: int) -> None:
        self._record = record
        self._dim = dim
        self._texts: list[str] = []
        self._chars = 0
        self._text: str | None = None  # once the first chunks came
        self._blocks: list[TextBlock] | None = None
        self._chunks: list[Chunk] = []
        self._vectors: list[FloatArray] = []

    def add_text(self, text: str) -> None:
        self._chars += len(text)
        if self._text is not None or not 0 < len(text) <= TEXT_CHARS or self._chars > self._record.text_chars:
            raise ValueError("text")
        text.encode()  # no half surrogates: the stores take none
        self._texts.append(text)

    def add_blocks(self, rows: Sequence[Sequence[Any]]) -> None:
        if self._text is not None or self._chars != self._record.text_chars or len(rows) > LINE_BLOCKS:
            raise ValueError("blocks")
        self._blocks = self._blocks or []
        for row in rows:
            block = _block(row, self._record.text_chars)
            if self._blocks and block.start_char < self._blocks[-1].end_char:
                raise ValueError("blocks")  # in the text's order and apart: so there are no more than characters
            self._blocks.append(block)

    def add_chunks(self, rows: Sequence[Mapping[str, Any]], vectors: str | None) -> None:
        if self._text is None:
            self._text, self._texts = "".join(self._texts), []
        if not 0 < len(rows) <= LINE_CHUNKS or (vectors is None) != (self._dim == 0):
            raise ValueError("chunks")
        first = len(self._chunks)
        self._chunks += [_chunk(row, first + at, self._text) for at, row in enumerate(rows)]
        if len(self._chunks) > self._record.chunk_count:
            raise ValueError("chunks")
        if vectors is not None:
            self._vectors.append(_unit(vectors_of(vectors, len(rows), self._dim)))

    def closed(self) -> ArchivedDocument:
        counts = (self._record.text_chars, self._record.chunk_count)
        if self._text is None or (len(self._text), len(self._chunks)) != counts:
            raise ValueError("document")
        vectors = np.concatenate(self._vectors) if self._vectors else None
        return ArchivedDocument(self._record, self._text, self._chunks, vectors, self._blocks)


def _header(row: Mapping[str, Any]) -> ArchiveHeader:
    if row["askmesh_archive"] != FORMAT_VERSION:
        raise ArchiveInvalid(
            "the archive was written by a newer version of askmesh: import it with that one", metadata={"line": "1"}
        )
    fingerprint, dim = _text(row["embedder_fingerprint"]), _count(row["dim"])
    if dim > MAX_DIM or (dim == 0) != (fingerprint == ""):
        raise ValueError("dim")
    return ArchiveHeader(
        collection=_text(row["collection"]),
        generation=_count(row["generation"]),
        embedder_fingerprint=fingerprint,
        dim=dim,
        fields={name: FieldType(kind) for name, kind in row["fields"].items()},
        document_count=_count(row["document_count"]),
        created_at=from_micros(_count(row["created_at"])),
    )


def _record(row: Mapping[str, Any]) -> DocumentRecord:
    record = DocumentRecord(
        document_id=_text(row["document_id"]),
        version=0,
        title=_text(row["title"]),
        uri=_text(row["uri"]),
        source=_text(row["source"]),
        content_type=_text(row["content_type"]),
        metadata={name: scalar_of(FieldType(kind), value) for name, (kind, value) in row["metadata"].items()},
        groups=tuple(_text(group) for group in row["groups"]),
        content_hash=_text(row["content_hash"]),
        chunk_count=_count(row["chunk_count"]),
        text_chars=_count(row["text_chars"]),
        size_bytes=_count(row["size_bytes"]),
        updated_at=from_micros(_count(row["updated_at"])),
        source_hash=_text(row["source_hash"]),
    )
    found = Violations()
    checks.document_id(record.document_id, found)
    found.check()
    if not record.groups or not record.chunk_count or record.text_chars > DEFAULT_LIMITS.max_text_chars:
        raise ValueError("record")
    return record


def _block(row: Sequence[Any], chars: int) -> TextBlock:
    kind, start, end, level, page = row
    if kind not in BLOCK_KINDS or not 0 <= _count(start) < _count(end) <= chars:
        raise ValueError("block")
    return TextBlock(kind, start, end, _count(level), _count(page))


def _chunk(row: Mapping[str, Any], position: int, text: str) -> Chunk:
    start, end, heading = _count(row["start_char"]), _count(row["end_char"]), _text(row["heading"])
    if not start < end <= len(text):
        raise ValueError("offsets")
    own = text[start:end]
    return Chunk(
        chunk_id="",  # with its version, when it is stored
        version=0,
        position=position,
        text=own,
        embed_text=heading if row.get("is_whole") else heading + own,
        section=_text(row["section"]),
        page=_count(row["page"]),
        start_char=start,
        end_char=end,
    )


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE):  # so written, NaN is refused too
        raise ValueError("vectors")
    return vectors


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    value.encode()
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError("count")
    return value
