"""What a log line holds, and what it must never hold."""

from __future__ import annotations

import io
import json
import logging

import pytest

from chassis import context, logs
from chassis.budget import Budget
from chassis.errors import InternalError
from chassis.identity import LOCAL
from chassis.telemetry import Telemetry

SECRET = "hunter2"


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("askmesh-test", level="debug", format="json", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log():
    return logging.getLogger("askmesh.test")


def line(stream):
    return json.loads(stream.getvalue().splitlines()[-1])


def test_a_line_is_one_json_object_with_its_facts(stream, log):
    log.info("opened", extra={"port": 50051, "kinds": ["a", "b"]})
    written = line(stream)
    assert (written["message"], written["level"], written["service"]) == ("opened", "info", "askmesh-test")
    assert (written["port"], written["kinds"]) == (50051, ["a", "b"])


def test_within_a_call_a_line_has_its_request_and_trace_ids(stream, log):
    telemetry = Telemetry("test")
    call = context.CallContext("r-7", LOCAL, "Bearer hunter2", "", Budget.of(1.0))
    with context.use(call), telemetry.span("ask") as span:
        log.info("working")
    written = line(stream)
    assert written["request_id"] == "r-7"
    assert written["trace_id"] == format(span.get_span_context().trace_id, "032x")
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("name", ["question", "prompt", "text", "password", "api_key", "Authorization"])
def test_a_field_whose_name_tells_of_content_is_redacted(stream, log, name):
    log.info("oops", extra={name: SECRET, "nested": {name: SECRET}})
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "authorization: Bearer hunter2",
        "redis://user:hunter2@redis:6379/0",
        "redis://:hunter2@redis",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2",
    ],
)
def test_what_looks_like_a_credential_is_masked_wherever_it_is(stream, log, text):
    log.warning("connecting to %s", text)
    log.warning("connecting", extra={"target": text, "all": [text]})
    assert SECRET not in stream.getvalue()
    assert logs.REDACTED in stream.getvalue()


def test_an_exception_is_logged_by_type_and_place_without_its_text(stream, log):
    def reader():
        raise ValueError(SECRET)

    try:
        reader()
    except ValueError:
        log.exception("failed")
    written = line(stream)
    assert written["error_types"] == "builtins.ValueError"
    assert "reader" in written["frames"][-1]
    assert SECRET not in stream.getvalue()


def test_the_cause_of_an_error_is_what_its_frames_show():
    def driver():
        raise KeyError(SECRET)

    def translate():
        try:
            driver()
        except KeyError as exc:
            raise InternalError("uncaught") from exc

    with pytest.raises(InternalError) as caught:
        translate()
    fields = logs.failure_fields(caught.value)
    assert fields["error_types"] == "chassis.errors.InternalError < builtins.KeyError"
    assert str(fields["frames"]).count("driver") == 1


def test_a_long_value_is_cut(stream, log):
    log.info("big", extra={"thing": "x" * 10_000})
    assert len(line(stream)["thing"]) == logs.MAX_FIELD_CHARS + 1


def test_line_breaks_cannot_forge_a_line(stream, log):
    log.info("bad %s", 'a\n{"level": "error"}')
    assert len(stream.getvalue().splitlines()) == 1


def test_on_a_terminal_a_line_is_for_people(log):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Terminal()
    logs.configure("askmesh-test", stream=stream)
    log.info("opened", extra={"port": 50051})
    root.handlers[:] = handlers
    root.setLevel(level)
    assert "info    opened  port=50051" in stream.getvalue()


@pytest.fixture
def levels():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("levels")
def test_libraries_are_never_louder_than_what_was_asked_for():
    stream = io.StringIO()
    logs.configure("askmesh-test", level="error", format="json", stream=stream)

    for name in ("grpc", "opensearch", "weaviate", "somebody.else"):
        logging.getLogger(name).warning("a retry")

    assert stream.getvalue() == ""


@pytest.mark.usefixtures("levels")
def test_a_lost_compare_and_swap_is_no_warning():
    stream = io.StringIO()
    logs.configure("askmesh-test", format="json", stream=stream)

    logging.getLogger("opensearch").warning("PUT http://... [status:409]")
    logging.getLogger("weaviate").warning("a retry")

    assert len(stream.getvalue().splitlines()) == 1
