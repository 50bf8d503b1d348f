"""Log lines: JSON for machines, one readable line for a terminal; both on stderr, both with the call's ids.

Rule 1: no content. Messages are constant sentences; facts go into `extra`. As a guard, fields with telling names are
        dropped and whatever looks like a credential is masked, in case somebody forgets.
Rule 2: of an exception its type and the places it went through are logged, never its text: drivers quote queries.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from chassis import context
from chassis.telemetry import current_trace_id

REDACTED: Final = "[redacted]"
MAX_FRAMES: Final = 30  # the innermost ones; deeper recursion repeats itself
MAX_FIELD_CHARS: Final = 500  # a longer value is content, not a fact

_FORBIDDEN = frozenset(
    {
        "answer", "api_key", "authorization", "body", "content", "cookie", "credentials", "document_text", "passage",
        "password", "prompt", "query", "question", "secret", "snippet", "text", "token", "tokens_text",
    }
)  # fmt: skip
_CREDENTIALS = re.compile(
    r"(?i)(bearer\s+)[^\s\"',;]+"  # authorization values
    r"|(://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password in a URL
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT by itself
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Chatty below this, and their lines may hold URLs or queries. OpenSearch's client warns of every status that is not
# 2xx: a lost compare-and-swap is one, and failures are ours to tell.
_LEAST = {
    **dict.fromkeys(
        ("asyncio", "grpc", "hpack", "httpcore", "httpx", "opentelemetry", "urllib3", "weaviate"), logging.WARNING
    ),
    "opensearch": logging.ERROR,
}


def configure(
    service: str,
    *,
    level: str = "info",
    format: Literal["auto", "json", "human"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send the process's log lines to one place; called once, by whatever starts the process.

    Args:
        service: Named in every line.
        level: Least severe level that is logged.
        format: "auto" is human on a terminal, else JSON.
        stream: Where to; stderr when None.
    """
    target = stream or sys.stderr
    is_human = format == "human" or (format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(HumanFormatter() if is_human else JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(max(least, root.level))


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": _masked(record.getMessage()),
        }
        line.update(_fields(record))
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanFormatter(logging.Formatter):
    """Time, level, message, facts."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{clock} {record.levelname.lower():<7} {_masked(record.getMessage())}  {facts}".rstrip()


def failure_fields(error: BaseException) -> dict[str, object]:
    """What may be logged of an exception: the types along its causes, and the frames of the first cause."""
    chain = list(_causes(error))
    frames = traceback.extract_tb(chain[-1].__traceback__)[-MAX_FRAMES:]
    return {
        "error_types": " < ".join(f"{type(each).__module__}.{type(each).__qualname__}" for each in chain),
        "frames": [f"{_module(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _module(filename: str) -> str:
    """The last two parts of a path: enough to find it, without the machine's folders."""
    return "/".join(filename.replace("\\", "/").split("/")[-2:])


def _fields(record: logging.LogRecord) -> dict[str, object]:
    call = context.peek()
    fields: dict[str, object] = {"request_id": call.request_id} if call is not None else {}
    if trace_id := current_trace_id():
        fields["trace_id"] = trace_id
    fields |= {name: _safe(name, value) for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        fields |= failure_fields(record.exc_info[1])
    return fields


def _safe(name: str, value: object) -> object:
    if name.lower() in _FORBIDDEN:
        return REDACTED
    if isinstance(value, str):
        return _masked(value if len(value) <= MAX_FIELD_CHARS else value[:MAX_FIELD_CHARS] + "…")
    if isinstance(value, Mapping):
        return {str(key): _safe(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe("", inner) for inner in value]
    return value if isinstance(value, bool | int | float) or value is None else _masked(str(value))


def _masked(text: str) -> str:
    return _CREDENTIALS.sub(lambda found: (found[1] or found[2] or "") + REDACTED, text)
