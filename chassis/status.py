"""The one table between reasons and statuses, and the two ways through it.

Rule 1: every reason of the contract has exactly one row; the gRPC code and the HTTP status are functions of the reason.
Rule 2: what crosses the wire is the error's own message and facts, bounded in size; an internal error has neither.
Rule 3: whatever comes back without our details is somebody else's failure (a proxy, the transport) and becomes the
        `unavailable` of the caller's choice, except that time running out and cancelling keep their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from chassis import errors
from chassis.errors import BackendUnavailable, FieldViolation, InvalidRequest, RagError

DOMAIN: Final = "askmesh"
DETAILS_HEADER: Final = "grpc-status-details-bin"

# A status travels in trailing metadata, of which gRPC refuses more than 8 KiB by default. The message is in it twice,
# once percent-encoded (three times its bytes), the details in base64 (four thirds): 1,200 + 5,300 bytes at worst.
MAX_MESSAGE_BYTES: Final = 400
MAX_STATUS_BYTES: Final = 4_000
MAX_FACTS: Final = 8
MAX_FACT_BYTES: Final = 60
MAX_ID_BYTES: Final = 100
MAX_FIELD_BYTES: Final = 120
MAX_DESCRIPTION_BYTES: Final = 200
_ANY_BYTES: Final = 60  # the type URL and lengths around a detail

_INTERNAL_MESSAGE: Final = "internal error; report the request id"

# gRPC's own refusal of a message far over the limit comes before any of our code and has no details.
_TRANSPORT_TOO_LARGE: Final = "message larger than max"

_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Row:
    """What one reason means on the wire.

    Attributes:
        code: The gRPC code.
        http: The HTTP status: google.rpc.Code's own unless the contract's comment names another.
        retry_after_s: Sent as RetryInfo when the error names none; None where a plain retry does not help.
        resource: What was not found; also the key of its name in the error's metadata.
    """

    code: grpc.StatusCode
    http: int
    retry_after_s: float | None = None
    resource: str = ""


_INVALID = Row(_Code.INVALID_ARGUMENT, 400)
_UNAUTHENTICATED = Row(_Code.UNAUTHENTICATED, 401)
_PRECONDITION = Row(_Code.FAILED_PRECONDITION, 400)
_UNAVAILABLE = Row(_Code.UNAVAILABLE, 503, retry_after_s=1.0)  # a breaker's shortest open time

TABLE: Final[Mapping[str, Row]] = {
    "INTERNAL": Row(_Code.INTERNAL, 500),
    "FIELD_INVALID": _INVALID,
    "FILTER_INVALID": _INVALID,
    "METADATA_CONFLICT": _INVALID,
    "PAGE_TOKEN_INVALID": _INVALID,
    "MESSAGE_MALFORMED": _INVALID,
    "MESSAGE_TOO_LARGE": Row(_Code.RESOURCE_EXHAUSTED, 413),
    "METHOD_UNKNOWN": Row(_Code.UNIMPLEMENTED, 404),
    "CREDENTIALS_MISSING": _UNAUTHENTICATED,
    "CREDENTIALS_INVALID": _UNAUTHENTICATED,
    "PERMISSION_DENIED": Row(_Code.PERMISSION_DENIED, 403),
    "COLLECTION_NOT_FOUND": Row(_Code.NOT_FOUND, 404, resource="collection"),
    "DOCUMENT_NOT_FOUND": Row(_Code.NOT_FOUND, 404, resource="document"),
    "ANSWER_NOT_FOUND": Row(_Code.NOT_FOUND, 404, resource="answer"),
    "GENERATION_NOT_REACHED": _PRECONDITION,
    "DOCUMENT_UNREADABLE": _INVALID,
    "DOCUMENT_EMPTY": _INVALID,
    "DOCUMENT_ENCRYPTED": _INVALID,
    "DOCUMENT_TOO_LARGE": _INVALID,
    "DOCUMENT_FORMAT_UNSUPPORTED": _INVALID,
    "DOCUMENT_ENCODING_INVALID": _INVALID,
    "DOCUMENT_DUPLICATED": _INVALID,
    "DEADLINE_EXCEEDED": Row(_Code.DEADLINE_EXCEEDED, 504),
    "CANCELLED": Row(_Code.CANCELLED, 499),
    "OVERLOADED": Row(_Code.RESOURCE_EXHAUSTED, 429, retry_after_s=1.0),
    "SHUTTING_DOWN": Row(_Code.UNAVAILABLE, 503, retry_after_s=0.2),  # another replica answers at once
    "BACKEND_UNAVAILABLE": _UNAVAILABLE,
    "RETRIEVER_UNAVAILABLE": _UNAVAILABLE,
    "CATALOGUE_UNAVAILABLE": _UNAVAILABLE,
    "SEARCH_UNAVAILABLE": _UNAVAILABLE,
    "EMBEDDER_UNAVAILABLE": _UNAVAILABLE,
    "MODEL_UNAVAILABLE": _UNAVAILABLE,
    "MODEL_COLD": Row(_Code.UNAVAILABLE, 503, retry_after_s=30.0),  # a cold start takes 30 to 50 s
    "MODEL_OVERLOADED": _UNAVAILABLE,
    "CACHE_UNAVAILABLE": _UNAVAILABLE,
    "STORAGE_FULL": Row(_Code.RESOURCE_EXHAUSTED, 507),  # 429 would invite a retry that cannot help
    "CONFLICT": Row(_Code.ABORTED, 409, retry_after_s=0.1),
    "DATA_FOLDER_LOCKED": _PRECONDITION,
    "PORT_IN_USE": _PRECONDITION,
    "SETTINGS_INVALID": _PRECONDITION,
    "ROLLBACK_UNAVAILABLE": _PRECONDITION,
    "LAYOUT_OUTDATED": _PRECONDITION,
    "ARCHIVE_INVALID": _INVALID,
    "COLLECTION_EXISTS": Row(_Code.ALREADY_EXISTS, 409),
    "EMBEDDER_MISMATCH": _PRECONDITION,
}


def code_of(reason: str) -> grpc.StatusCode:
    """The gRPC code of a reason; a reason that is not in the table is a bug and counts as INTERNAL."""
    return TABLE.get(reason, TABLE["INTERNAL"]).code


def http_of(reason: str) -> int:
    """The HTTP status of a reason."""
    return TABLE.get(reason, TABLE["INTERNAL"]).http


def retry_after_s_of(error: RagError) -> float | None:
    """Seconds after which trying again makes sense: the error's own, else its reason's; None = it does not help."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return TABLE.get(error.reason, TABLE["INTERNAL"]).retry_after_s


def to_rpc_status(error: RagError, request_id: str) -> status_pb2.Status:
    """The status a caller sees, with its details; never larger than trailing metadata may be."""
    code = code_of(error.reason)
    message = _INTERNAL_MESSAGE if code is _Code.INTERNAL else _cut(error.message, MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=_number(code), message=message)
    for detail in _details(error, request_id):
        status.details.add().Pack(detail)
    if isinstance(error, InvalidRequest) and error.violations:
        room = MAX_STATUS_BYTES - status.ByteSize() - _ANY_BYTES
        status.details.add().Pack(_bad_request(error.violations, room))
    return status


def from_rpc_status(status: status_pb2.Status) -> RagError:
    """The typed error a status of ours was made from; one without our ErrorInfo is judged by its code alone."""
    info, retry, violations = _read(status)
    kind = _class_of(info.reason if info.domain == DOMAIN else "", status.code)
    after_s = None if retry is None else retry.retry_delay.ToTimedelta().total_seconds()
    metadata = dict(info.metadata)
    if issubclass(kind, InvalidRequest):
        error: RagError = kind(status.message, violations, retry_after_s=after_s, metadata=metadata)
    else:
        error = kind(status.message, retry_after_s=after_s, metadata=metadata)
    error.request_id = _request_id(status)
    return error


def _request_id(status: status_pb2.Status) -> str:
    found = error_details_pb2.RequestInfo()
    return next((found.request_id for detail in status.details if detail.Unpack(found)), "")


def from_rpc_error(exc: grpc.RpcError, unavailable: type[BackendUnavailable]) -> RagError:
    """What a failed call means for the caller's domain.

    Args:
        exc: The failure of an aio call.
        unavailable: What it is called when the other side, or the way there, does not answer.
    """
    status = status_of(exc)
    if status is not None and any(d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for d in status.details):
        return from_rpc_status(status)
    if not isinstance(exc, grpc.aio.AioRpcError | grpc.Call):
        return unavailable("the service does not answer; try again", retry_after_s=_UNAVAILABLE.retry_after_s)
    code = exc.code()
    if code is _Code.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded("the call did not end within its deadline")
    if code is _Code.CANCELLED:
        return errors.Cancelled("the call was cancelled")
    if code is _Code.RESOURCE_EXHAUSTED and _TRANSPORT_TOO_LARGE in (exc.details() or ""):
        return errors.MessageTooLarge("the message is over the size limit; send less")
    return unavailable("the service does not answer; try again", retry_after_s=_UNAVAILABLE.retry_after_s)


def status_of(exc: grpc.RpcError) -> status_pb2.Status | None:
    """The google.rpc.Status in a failed call's trailing metadata, if there is a readable one."""
    if not isinstance(exc, grpc.aio.AioRpcError | grpc.Call):
        return None
    for key, value in exc.trailing_metadata() or ():
        if key == DETAILS_HEADER and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _details(error: RagError, request_id: str) -> Iterator[Message]:
    row = TABLE.get(error.reason, TABLE["INTERNAL"])
    facts = {} if row.code is _Code.INTERNAL else _bounded(error.metadata)
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts)
    yield error_details_pb2.RequestInfo(request_id=_cut(request_id, MAX_ID_BYTES))
    after_s = retry_after_s_of(error)
    if after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(round(after_s * 1_000), int(after_s > 0)))
        yield retry
    if row.resource:
        name = _cut(error.metadata.get(row.resource, ""), MAX_ID_BYTES)
        yield error_details_pb2.ResourceInfo(resource_type=row.resource, resource_name=name)


def _bad_request(violations: Sequence[FieldViolation], room: int) -> error_details_pb2.BadRequest:
    """As many violations as there is room for, in order: whoever corrects these learns of the rest."""
    bad = error_details_pb2.BadRequest()
    for violation in violations:
        field, description = _cut(violation.field, MAX_FIELD_BYTES), _cut(violation.description, MAX_DESCRIPTION_BYTES)
        bad.field_violations.add(field=field, description=description)
        if bad.ByteSize() > room:
            del bad.field_violations[-1]
            break
    return bad


def _read(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo | None, list[FieldViolation]]:
    info, retry, bad = error_details_pb2.ErrorInfo(), None, error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
    return info, retry, [FieldViolation(v.field, v.description) for v in bad.field_violations]


def _leaves(kind: type[RagError]) -> Iterator[type[RagError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _leaves(child)


def _by_reason() -> dict[str, type[RagError]]:
    """Each reason's class: of a family that shares one (DocumentError and DocumentUnreadable), the narrowest."""
    named = [kind for kind in _leaves(RagError) if kind.__module__ == errors.__name__]
    return {kind.reason: kind for kind in sorted(named, key=lambda kind: len(kind.__mro__))}


CLASSES: Final[Mapping[str, type[RagError]]] = _by_reason()

_CLASS_OF_CODE: Final[Mapping[grpc.StatusCode, type[RagError]]] = {
    # A reason newer than this program: the code still says which kind of trouble it is.
    _Code.INVALID_ARGUMENT: InvalidRequest,
    _Code.UNAUTHENTICATED: errors.CredentialsInvalid,
    _Code.PERMISSION_DENIED: errors.PermissionDenied,
    _Code.RESOURCE_EXHAUSTED: errors.Overloaded,
    _Code.UNAVAILABLE: BackendUnavailable,
    _Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    _Code.CANCELLED: errors.Cancelled,
    _Code.ABORTED: errors.Conflict,
    _Code.UNIMPLEMENTED: errors.MethodUnknown,
}


def _class_of(reason: str, number: int) -> type[RagError]:
    by_code = next((kind for code, kind in _CLASS_OF_CODE.items() if _number(code) == number), errors.InternalError)
    return CLASSES.get(reason, by_code)


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]  # (number, name)
    return number


def _bounded(metadata: Mapping[str, str]) -> dict[str, str]:
    facts = sorted(metadata.items())[:MAX_FACTS]
    return {_cut(key, MAX_FACT_BYTES): _cut(value, MAX_FACT_BYTES) for key, value in facts}


def _cut(text: str, limit: int) -> str:
    """The text, or its beginning with an ellipsis, in at most `limit` bytes of UTF-8; lone surrogates are replaced."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return whole.decode()
    return whole[: limit - len("…".encode())].decode("utf-8", "ignore") + "…"
