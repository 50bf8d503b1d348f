"""What can go wrong, as types: one class per reason, raised by domain code, seen by callers as a reason.

Rule 1: a message is for the caller. It says what to do and holds no host name, path, query, prompt or driver text.
Rule 2: this module knows no wire. `chassis.status` alone maps a reason to a gRPC code and to HTTP.
Rule 3: raise the narrowest class; adapters translate third-party exceptions and nothing else catches them.
Rule 4: `reason` is a value name of rag.errors.v1.ErrorReason without its prefix; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request: its path (`filter.and.filters[0]`) and what would be right."""

    field: str
    description: str


class RagError(Exception):
    """Base of every error askmesh raises on purpose.

    Args:
        message: One sentence for the caller: what is wrong and what to do.
        retry_after_s: When trying again makes sense, seconds from now.
        metadata: Short facts for programs (limits, names); never secrets or content.

    Attributes:
        request_id: Of the call that failed, where another process said so; "" otherwise. What to quote to an operator.
    """

    reason: ClassVar[str] = "INTERNAL"
    request_id: str = ""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})

    def at(self, place: str) -> RagError:
        """The same error with the place prepended ("dense search: ..."), reason kept."""
        self.message = f"{place}: {self.message}"
        self.args = (self.message,)
        return self


class InternalError(RagError):
    """A bug of ours. The caller sees a request id and nothing else."""

    reason = "INTERNAL"


# The caller's request


class InvalidRequest(RagError):
    """One or more fields are out of range; every one of them is listed."""

    reason = "FIELD_INVALID"

    def __init__(self, message: str, violations: Sequence[FieldViolation] = (), **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]  # same keywords as RagError
        self.violations = tuple(violations)

    @classmethod
    def field(cls, field: str, description: str) -> InvalidRequest:
        return cls(f"{field}: {description}", [FieldViolation(field, description)])


class FilterInvalid(InvalidRequest):
    """A filter names an unknown field, compares with the wrong type, or is too large."""

    reason = "FILTER_INVALID"


class MetadataConflict(InvalidRequest):
    """A metadata value has another type than the collection's field, or there are too many fields."""

    reason = "METADATA_CONFLICT"


class PageTokenInvalid(InvalidRequest):
    """A page token is not one this server gave, or belongs to another request."""

    reason = "PAGE_TOKEN_INVALID"


class MalformedMessage(RagError):
    """The bytes are not the message the method takes (bad protobuf, bad JSON, unknown JSON field)."""

    reason = "MESSAGE_MALFORMED"


class MessageTooLarge(RagError):
    """A request is over its size limit."""

    reason = "MESSAGE_TOO_LARGE"


class MethodUnknown(RagError):
    """No such method or route."""

    reason = "METHOD_UNKNOWN"


# Who asks


class CredentialsMissing(RagError):
    reason = "CREDENTIALS_MISSING"


class CredentialsInvalid(RagError):
    reason = "CREDENTIALS_INVALID"


class PermissionDenied(RagError):
    reason = "PERMISSION_DENIED"


# What is asked for


class CollectionNotFound(RagError):
    reason = "COLLECTION_NOT_FOUND"


class DocumentNotFound(RagError):
    reason = "DOCUMENT_NOT_FOUND"


class AnswerNotFound(RagError):
    reason = "ANSWER_NOT_FOUND"


class GenerationNotReached(RagError):
    """The store has not reached the caller's min_generation yet."""

    reason = "GENERATION_NOT_REACHED"


# Documents


class DocumentError(RagError):
    """Base of everything wrong with one document; it fails that document, never its batch."""

    reason = "DOCUMENT_UNREADABLE"


class DocumentUnreadable(DocumentError):
    """The bytes are not what the content type says (a PDF that is not one)."""

    reason = "DOCUMENT_UNREADABLE"


class DocumentEmpty(DocumentError):
    """No text: an empty file, or a scan without a text layer."""

    reason = "DOCUMENT_EMPTY"


class DocumentEncrypted(DocumentError):
    reason = "DOCUMENT_ENCRYPTED"


class DocumentTooLarge(DocumentError):
    """Over the size limit, as sent or once unpacked (a zip bomb)."""

    reason = "DOCUMENT_TOO_LARGE"


class DocumentFormatUnsupported(DocumentError):
    reason = "DOCUMENT_FORMAT_UNSUPPORTED"


class DocumentEncodingInvalid(DocumentError):
    """Text that is not UTF-8 and whose encoding cannot be told."""

    reason = "DOCUMENT_ENCODING_INVALID"


class DocumentDuplicated(DocumentError):
    """The same document id twice in one ingest stream."""

    reason = "DOCUMENT_DUPLICATED"


# Time and load


class DeadlineExceeded(RagError):
    reason = "DEADLINE_EXCEEDED"


class Cancelled(RagError):
    reason = "CANCELLED"


class Overloaded(RagError):
    """Shed before any work was done; safe to retry after `retry_after_s`."""

    reason = "OVERLOADED"


class ShuttingDown(RagError):
    reason = "SHUTTING_DOWN"


# Dependencies. `BackendUnavailable` is the base the pipelines catch in order to degrade.


class BackendUnavailable(RagError):
    """A dependency refused, broke off or timed out."""

    reason = "BACKEND_UNAVAILABLE"


class RetrieverUnavailable(BackendUnavailable):
    reason = "RETRIEVER_UNAVAILABLE"


class CatalogueUnavailable(BackendUnavailable):
    reason = "CATALOGUE_UNAVAILABLE"


class SearchUnavailable(BackendUnavailable):
    """A search leg is down, broken or out of time."""

    reason = "SEARCH_UNAVAILABLE"


class EmbedderUnavailable(BackendUnavailable):
    """No embedder, or its fingerprint is not the collection's."""

    reason = "EMBEDDER_UNAVAILABLE"


class ModelUnavailable(BackendUnavailable):
    reason = "MODEL_UNAVAILABLE"


class ModelCold(ModelUnavailable):
    """The model is loading; it will be there after `retry_after_s`."""

    reason = "MODEL_COLD"


class ModelOverloaded(ModelUnavailable):
    reason = "MODEL_OVERLOADED"


class CacheUnavailable(BackendUnavailable):
    reason = "CACHE_UNAVAILABLE"


class StorageFull(BackendUnavailable):
    """The disk or the store's quota is full; what was acknowledged is kept."""

    reason = "STORAGE_FULL"


# Start-up and writes


class Conflict(RagError):
    """A compare-and-swap lost to another writer; try again."""

    reason = "CONFLICT"


class DataFolderLocked(RagError):
    """Another process holds the data folder."""

    reason = "DATA_FOLDER_LOCKED"


class PortInUse(RagError):
    reason = "PORT_IN_USE"


class SettingsInvalid(RagError):
    """One or more settings are wrong; all are listed, values never printed."""

    reason = "SETTINGS_INVALID"


class RollbackUnavailable(RagError):
    """No earlier build of the collection is kept."""

    reason = "ROLLBACK_UNAVAILABLE"


class LayoutOutdated(RagError):
    """The stores' indexes have an older layout than this version's; a migration moves them."""

    reason = "LAYOUT_OUTDATED"


class ArchiveInvalid(RagError):
    """The bytes are no whole archive of a collection."""

    reason = "ARCHIVE_INVALID"


class CollectionExists(RagError):
    """An import names a collection that exists."""

    reason = "COLLECTION_EXISTS"


class EmbedderMismatch(RagError):
    """Vectors of another embedder than the server's."""

    reason = "EMBEDDER_MISMATCH"
