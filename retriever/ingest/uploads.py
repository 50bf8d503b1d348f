"""Documents on their way in: whole, or in parts that wait in a file until the last one is here.

A part is never kept in memory longer than it takes to write it down: a hundred slow senders cost disk, not memory.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from typing import Final

from chassis.errors import DocumentTooLarge, StorageFull
from retriever.documents import DocumentSource

MEMORY_BYTES: Final = 256 << 10  # most documents are smaller and never touch the disk


class Spool:
    """The parts of one document, in order; a temporary file without a name once it is large. Blocking.

    Args:
        max_bytes: Most it takes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # closed by `close`
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add a part. Raises DocumentTooLarge, or StorageFull when the disk takes no more."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise DocumentTooLarge(
                f"the document is over {self._max_bytes} bytes: split it", metadata={"max_bytes": str(self._max_bytes)}
            )
        try:
            self._file.write(data)
        except OSError as exc:
            raise StorageFull("the disk has no room for the document's parts: free space") from exc

    def read(self) -> bytes:
        """All of it."""
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Upload:
    """One document of a stream.

    Attributes:
        index: 0-based position in the stream.
        source: The document; without its content when that is in the spool.
    """

    index: int
    source: DocumentSource
    spool: Spool | None = None

    @property
    def document_id(self) -> str:
        return self.source.document_id

    @property
    def size(self) -> int:
        return self.spool.size if self.spool else len(self.source.data)

    def load(self) -> DocumentSource:
        """The document with its content. Blocking; its spool is closed afterwards."""
        if self.spool is None:
            return self.source
        try:
            return replace(self.source, data=self.spool.read())
        finally:
            self.spool.close()

    def close(self) -> None:
        """Give up the content; harmless when it was loaded."""
        if self.spool is not None:
            self.spool.close()
