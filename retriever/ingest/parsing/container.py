"""The zip around docx, pptx and xlsx, checked before any library opens it.

Rule 1: declared sizes are checked first (free), then every part is really unpacked, counted and thrown away: a bomb
        declares what it likes, and a damaged part should fail here and not in the middle of a library.
Rule 2: a part of XML may declare no document type: entities expand, and Office Open XML forbids them (ECMA-376 part 2,
        8.1.4).
"""

from __future__ import annotations

import io
import zipfile
import zlib

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from chassis.errors import DocumentEncrypted, DocumentTooLarge, DocumentUnreadable
from retriever.ingest.parsing.limits import MIB, ParseLimits

_READ_BYTES = 1 << 16
# Below this size an expansion of any ratio is harmless: 4 MiB of blanks in an empty sheet's styles do occur.
_SMALL_BYTES = 4 * MIB
_FLAG_ENCRYPTED = 0x1  # APPNOTE 4.4.4, bit 0
_XML_SUFFIXES = (".xml", ".rels", ".vml")
_UNREADABLE = "the office file cannot be unpacked: check that it is whole"


def check_container(data: bytes, limits: ParseLimits) -> None:
    """Refuse what is not a sound office container.

    Raises:
        DocumentTooLarge: it unpacks to more than the limits allow.
        DocumentEncrypted: a part has a password.
        DocumentUnreadable: not a zip, damaged, or XML with a document type.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            _check_declared(parts, limits)
            _check_actual(archive, parts, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as exc:
        raise DocumentUnreadable(_UNREADABLE) from exc


def _check_declared(parts: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    if len(parts) > limits.max_archive_parts or sum(part.file_size for part in parts) > limits.max_unpacked_bytes:
        raise _too_large(limits)
    for part in parts:
        if part.flag_bits & _FLAG_ENCRYPTED:
            raise DocumentEncrypted("the document is protected by a password: send it without")
        if part.file_size > _SMALL_BYTES and part.file_size > limits.max_expansion * max(1, part.compress_size):
            raise _too_large(limits)


def _check_actual(archive: zipfile.ZipFile, parts: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    left = limits.max_unpacked_bytes
    for part in parts:
        is_xml = part.filename.lower().endswith(_XML_SUFFIXES)
        with archive.open(part) as stream:
            if is_xml:
                head = stream.read(_READ_BYTES)
                left -= len(head)
                _check_prologue(head)
            while block := stream.read(_READ_BYTES):
                left -= len(block)
                if left < 0:
                    raise _too_large(limits)


def _check_prologue(head: bytes) -> None:
    """A document type can only stand before the first element; nothing after that is parsed here."""
    try:
        next(iter(iterparse(io.BytesIO(head), events=("start",), forbid_dtd=True)), None)
    except DefusedXmlException as exc:
        raise DocumentUnreadable("the office file declares XML entities, which no office program writes") from exc
    except ParseError as exc:
        raise DocumentUnreadable("the office file holds damaged XML: check that it is whole") from exc


def _too_large(limits: ParseLimits) -> DocumentTooLarge:
    return DocumentTooLarge(
        f"the document unpacks to more than {limits.max_unpacked_bytes // MIB} MiB or is packed suspiciously tight",
        metadata={"max_unpacked_bytes": str(limits.max_unpacked_bytes)},
    )
