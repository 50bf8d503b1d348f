"""The one table between reasons and statuses."""

from __future__ import annotations

from importlib.resources import files

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from rag.errors.v1 import errors_pb2

from chassis import errors, status
from chassis.errors import FieldViolation, InvalidRequest, RagError

PREFIX = "ERROR_REASON_"
REASONS = {name.removeprefix(PREFIX) for name, _ in errors_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RagError)]
TRAILERS_BYTES = 8 * 1024  # what a gRPC client accepts by default


def documented_code(reason: str) -> str:
    """The code that the contract's comment names first: descriptors carry comments in the generated image."""
    image = descriptor_pb2.FileDescriptorSet.FromString((files("rag") / "descriptors.binpb").read_bytes())
    file = next(each for each in image.file if each.name.endswith("errors.proto"))
    number = next(i for i, v in enumerate(file.enum_type[0].value) if v.name == PREFIX + reason)
    path = [5, 0, 2, number]  # enum_type[0].value[number], by FileDescriptorProto's field numbers
    comment = next(each.leading_comments for each in file.source_code_info.location if list(each.path) == path)
    return comment.split()[0].rstrip(".,")


def test_every_reason_of_the_contract_has_a_row_and_every_row_is_a_reason():
    assert set(status.TABLE) == REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_s_code_is_the_one_the_contract_documents(reason):
    assert status.code_of(reason).name == documented_code(reason)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_class_has_a_reason_of_the_contract(kind):
    assert kind.reason in REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_a_class_of_its_own_that_survives_the_way_there_and_back(reason):
    kind = status.CLASSES[reason]
    sent = status.to_rpc_status(kind("say what to do"), "r-1")
    assert type(status.from_rpc_status(sent)) is kind
    assert sent.code == status.code_of(reason).value[0]


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_http_and_grpc_agree_on_whose_fault_it_is(reason):
    ours = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    is_ours = status.code_of(reason) in ours or reason == "STORAGE_FULL"
    assert (status.http_of(reason) >= 500) is is_ours


@pytest.mark.parametrize("reason", sorted(r for r in REASONS if status.code_of(r) is grpc.StatusCode.UNAVAILABLE))
def test_what_is_unavailable_says_when_to_retry(reason):
    sent = status.to_rpc_status(status.CLASSES[reason]("try again"), "r-1")
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in sent.details)


def test_the_error_s_own_retry_time_wins():
    back = status.from_rpc_status(status.to_rpc_status(errors.Overloaded("busy", retry_after_s=0.25), "r-1"))
    assert back.retry_after_s == 0.25


def test_a_wait_is_never_told_as_none():
    """A breaker may be a fraction of a millisecond from its probe: a wire's zero would mean "at once"."""
    back = status.from_rpc_status(status.to_rpc_status(errors.Overloaded("busy", retry_after_s=0.0001), "r-1"))
    assert back.retry_after_s == 0.001


def test_an_internal_error_says_nothing_but_the_request_id():
    sent = status.to_rpc_status(errors.InternalError("db at 10.0.0.7 said no", metadata={"host": "10.0.0.7"}), "r-9")
    assert b"10.0.0.7" not in sent.SerializeToString()
    assert b"r-9" in sent.SerializeToString()


def test_a_client_learns_the_request_id_to_quote():
    sent = status.to_rpc_status(errors.InternalError("a bug"), "request-7")
    assert status.from_rpc_status(sent).request_id == "request-7"


def test_an_unknown_reason_counts_as_internal():
    assert (status.code_of("NEW_ONE"), status.http_of("NEW_ONE")) == (grpc.StatusCode.INTERNAL, 500)


def test_a_reason_newer_than_this_program_is_judged_by_its_code():
    sent = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="new")
    sent.details.add().Pack(error_details_pb2.ErrorInfo(reason="NEW_ONE", domain=status.DOMAIN))
    assert type(status.from_rpc_status(sent)) is InvalidRequest


def test_somebody_else_s_reason_of_the_same_name_is_not_ours():
    sent = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="proxy")
    sent.details.add().Pack(error_details_pb2.ErrorInfo(reason="FIELD_INVALID", domain="proxy.example"))
    assert type(status.from_rpc_status(sent)) is errors.BackendUnavailable


def failed(code: grpc.StatusCode, details: str = "upstream 10.0.0.7 refused", trailers=()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details=details)


CODES_WITHOUT_DETAILS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.CANCELLED: errors.Cancelled,
}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_failure_without_our_details_is_unavailable_unless_it_is_time_or_cancel(code):
    error = status.from_rpc_error(failed(code), errors.SearchUnavailable)
    assert type(error) is CODES_WITHOUT_DETAILS.get(code, errors.SearchUnavailable)
    assert "10.0.0.7" not in error.message


def test_unreadable_details_are_no_details():
    trailers = ((status.DETAILS_HEADER, b"\xff\xff"),)
    error = status.from_rpc_error(failed(grpc.StatusCode.NOT_FOUND, trailers=trailers), errors.RetrieverUnavailable)
    assert type(error) is errors.RetrieverUnavailable


ANY_TEXT = st.text(st.characters(), max_size=3_000)


@given(
    message=ANY_TEXT,
    facts=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=20),
    violations=st.lists(st.builds(FieldViolation, ANY_TEXT, ANY_TEXT), max_size=30),
    request_id=ANY_TEXT,
)
def test_a_status_always_fits_into_trailing_metadata(message, facts, violations, request_id):
    sent = status.to_rpc_status(InvalidRequest(message, violations, metadata=facts), request_id)
    in_base64 = (sent.ByteSize() + 2) // 3 * 4
    percent_encoded = 3 * len(sent.message.encode())
    assert in_base64 + percent_encoded < TRAILERS_BYTES - 512  # the rest: names, content type, request id
    assert len(status.from_rpc_status(sent).message) <= len(message)
