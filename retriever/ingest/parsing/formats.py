"""Which format a document has: what its owner declares, then its id's extension, then its bytes.

Rule 1: a declared type is believed but checked: bytes of another kind are DOCUMENT_UNREADABLE, never parsed as it.
Rule 2: octet-stream declares nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from chassis.errors import DocumentEncrypted, DocumentFormatUnsupported, DocumentUnreadable
from retriever.documents import DocumentSource

_OFFICE = "application/vnd.openxmlformats-officedocument."


class Format(StrEnum):
    """Formats by their media type, which is also what the stored document shows."""

    MARKDOWN = "text/markdown"
    PLAIN = "text/plain"
    HTML = "text/html"
    CSV = "text/csv"
    TSV = "text/tab-separated-values"
    JSON = "application/json"
    JSON_LINES = "application/x-ndjson"
    PDF = "application/pdf"
    DOCX = _OFFICE + "wordprocessingml.document"
    PPTX = _OFFICE + "presentationml.presentation"
    XLSX = _OFFICE + "spreadsheetml.sheet"


OFFICE = frozenset({Format.DOCX, Format.PPTX, Format.XLSX})
BINARY = OFFICE | {Format.PDF}
# Parsed in the child. HTML is text, but its parsing is quadratic in a hostile page's depth (the standard's "in scope"
# algorithms) and in its attributes: 0.9 MiB took 18 s, and a thread that is lost in C cannot be ended.
ISOLATED = BINARY | {Format.HTML}

_ALIASES = {
    "text/x-markdown": Format.MARKDOWN,
    "application/xhtml+xml": Format.HTML,
    "application/csv": Format.CSV,
    "text/json": Format.JSON,
    "application/jsonl": Format.JSON_LINES,
    "application/x-jsonlines": Format.JSON_LINES,
    "application/x-pdf": Format.PDF,
    "application/xml": Format.PLAIN,
    "application/yaml": Format.PLAIN,
    "application/toml": Format.PLAIN,
}
_EXTENSIONS = {
    "md": Format.MARKDOWN,
    "markdown": Format.MARKDOWN,
    "txt": Format.PLAIN,
    "text": Format.PLAIN,
    "log": Format.PLAIN,
    "rst": Format.PLAIN,
    "html": Format.HTML,
    "htm": Format.HTML,
    "xhtml": Format.HTML,
    "csv": Format.CSV,
    "tsv": Format.TSV,
    "json": Format.JSON,
    "jsonl": Format.JSON_LINES,
    "ndjson": Format.JSON_LINES,
    "pdf": Format.PDF,
    "docx": Format.DOCX,
    "pptx": Format.PPTX,
    "xlsx": Format.XLSX,
}
_UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream"})

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # [MS-CFB] 2.2: legacy office files, and encrypted new ones
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # [MS-OFFCRYPTO] 2.3.4.4: the stream's name in the directory
_PDF = b"%PDF-"
_PDF_WITHIN = 1024  # readers accept a header within the first 1,024 bytes (ISO 32000-1, annex H.3.4.1)
_MEDIA = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"\x1f\x8b",
    b"BZh",
    b"7z\xbc\xaf",
    b"\x7fELF",
    b"MZ",
    b"ID3",
    b"OggS",
)
_PARTS = (
    (b"word/document.xml", Format.DOCX),
    (b"ppt/presentation.xml", Format.PPTX),
    (b"xl/workbook.xml", Format.XLSX),
)
_SUPPORTED = "send md, txt, rst, html, pdf, docx, pptx, xlsx, csv, tsv, json or jsonl"


@dataclass(frozen=True, slots=True)
class Decision:
    """The format, and the charset its owner named ("" for none)."""

    format: Format
    charset: str = ""


def decide(source: DocumentSource) -> Decision:
    """Tell a document's format.

    Raises:
        DocumentFormatUnsupported: not one we read.
        DocumentEncrypted: an office file with a password.
        DocumentUnreadable: the bytes are of another kind than declared.
    """
    declared, _, parameters = source.content_type.lower().partition(";")
    found = _named(declared.strip(), source)
    _check_bytes(found, source.data)
    return Decision(found, _charset(parameters))


def _named(declared: str, source: DocumentSource) -> Format:
    if declared not in _UNDECLARED:
        return _of_type(declared)
    extension = PurePosixPath(source.document_id).suffix.lower().lstrip(".")
    return _EXTENSIONS.get(extension) or _sniffed(source.data)


def _of_type(declared: str) -> Format:
    if declared in set(Format):
        return Format(declared)
    if declared in _ALIASES:
        return _ALIASES[declared]
    if declared.startswith("text/"):
        return Format.PLAIN
    raise DocumentFormatUnsupported(f"this content type cannot be read: {_SUPPORTED}")


def _sniffed(data: bytes) -> Format:
    if _PDF in data[:_PDF_WITHIN]:
        return Format.PDF
    if data.startswith(_ZIP):
        return next((kind for part, kind in _PARTS if part in data), None) or _unsupported()
    if data.startswith(_OLE):
        return Format.DOCX if _ENCRYPTED in data else _unsupported()  # the check of the bytes says what is wrong
    if data.startswith(_MEDIA):
        return _unsupported()
    head = data[:_PDF_WITHIN].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return Format.HTML if head.startswith((b"<!doctype html", b"<html")) else Format.PLAIN


def _unsupported() -> Format:
    raise DocumentFormatUnsupported(f"this kind of file cannot be read: {_SUPPORTED}")


def _check_bytes(found: Format, data: bytes) -> None:
    if found in OFFICE and data.startswith(_OLE):
        if _ENCRYPTED in data:
            raise DocumentEncrypted("the document is protected by a password: send it without")
        raise DocumentFormatUnsupported(f"an office file of before 2007 cannot be read: {_SUPPORTED}")
    if found in OFFICE and not data.startswith(b"PK"):
        raise DocumentUnreadable("the bytes are not an office file: check that the file is whole and its type right")
    if found is Format.PDF and _PDF not in data[:_PDF_WITHIN]:
        raise DocumentUnreadable("the bytes are not a PDF: check that the file is whole and its type right")
    if found not in BINARY and data.startswith((_ZIP, _OLE, _PDF, *_MEDIA[:4])):
        raise DocumentUnreadable("the bytes are not text: send the file's own content type, or none")


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset":
            return value.strip("\"' ")
    return ""
