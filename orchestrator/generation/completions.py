"""The wire shapes of OpenAI-like completions: server-sent events in, text and counts out. No I/O.

Rule 1: bytes are cut into lines before they are decoded, so a character split between two chunks is never broken; only
        "\\n" ends a line (U+2028 inside a JSON string does not).
Rule 2: what is not understood is an error, not an empty answer: a malformed event means text was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chassis.errors import ModelUnavailable

__all__ = ["Completion", "EventLines", "parse_completion"]

MAX_LINE_BYTES = 1 << 20  # an event holds a few tokens; a megabyte without a line end is not this protocol
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Completion:
    """What one chunk adds; finish_reason "" and counts None where it does not say."""

    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def updated(self, later: Completion) -> Completion:
        """Everything but the text, the later word winning."""
        return Completion(
            finish_reason=later.finish_reason or self.finish_reason,
            prompt_tokens=self.prompt_tokens if later.prompt_tokens is None else later.prompt_tokens,
            completion_tokens=self.completion_tokens if later.completion_tokens is None else later.completion_tokens,
        )


class EventLines:
    """Cuts a byte stream into the `data` payloads of server-sent events, or gathers one JSON body."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_body = False
        self.is_done = False

    def push(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads completed by `chunk`; stops for good at [DONE]."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._check()
        for line in lines:
            payload = _payload(line)
            if payload == _DONE:
                self.is_done = True
                return
            if payload:
                yield payload

    def gather(self, chunk: bytes) -> Iterator[bytes]:
        """Keep `chunk` of a body that is no event stream; `finish` gives it whole."""
        self._rest += chunk
        self._is_body = True
        self._check()
        return iter(())

    def finish(self) -> Iterator[bytes]:
        """The stream ended: a last line without its line end, or the gathered body."""
        payload = self._rest if self._is_body else _payload(self._rest)
        self._rest = b""
        if payload and payload != _DONE:
            yield payload

    def _check(self) -> None:
        if len(self._rest) > MAX_LINE_BYTES:
            raise _garbled()


def parse_completion(payload: bytes) -> Completion:
    """Read a chat chunk, a whole chat reply, a text completion, or the older `outputs` and `output_text` shapes.

    Raises:
        ModelUnavailable: not JSON, not an object, or an error the server sends in band.
    """
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise _garbled() from exc
    if not isinstance(body, Mapping):
        raise _garbled()
    if body.get("error"):
        raise ModelUnavailable("the model server failed in the middle of the answer; ask again")
    choice = _first(body.get("choices")) or _first(body.get("outputs"))
    usage = _mapping(body.get("usage"))
    text = _text(choice) or _string(body.get("output_text"))
    return Completion(
        text=text,
        finish_reason=_string(choice.get("finish_reason")) or ("stop" if "output_text" in body else ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _payload(line: bytes) -> bytes:
    """The value of a `data:` line; comments, blank lines and other fields give nothing."""
    return line[len(b"data:") :].strip() if line.startswith(b"data:") else b""


def _text(choice: Mapping[str, Any]) -> str:
    for part in (_mapping(choice.get("delta")), _mapping(choice.get("message"))):
        if text := _string(part.get("content")):
            return text
    return _string(choice.get("text"))


def _first(values: object) -> Mapping[str, Any]:
    return _mapping(values[0]) if isinstance(values, list) and values else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _garbled() -> ModelUnavailable:
    return ModelUnavailable("the model server sent something that is not a completion; check that the URL is right")
