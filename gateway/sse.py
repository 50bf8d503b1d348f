"""Answers as server-sent events: ids, heartbeats, resuming, one error event, and the end when the caller leaves.

Rule 1: nothing is sent before the first event of the answer: until then an error is a plain HTTP error.
Rule 2: after the first byte an error is one `error` event, and the stream ends.
Rule 3: a request with Last-Event-ID never asks: it gets the rest of that answer, or 204, which tells an EventSource to
        stop asking.
Rule 4: responses are never compressed or buffered on the way: an event is worth something only when it arrives.

Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol

from chassis.errors import BackendUnavailable, RagError
from chassis.telemetry import Telemetry
from gateway import metrics
from gateway.exchange import Exchange
from gateway.json_faults import Json
from gateway.json_message import dump, to_json
from gateway.problems import problem
from gateway.replay import AnswerBuffer, AnswerReader, Event, owner_of

CONTENT_TYPE = "text/event-stream; charset=utf-8"
LAST_EVENT_ID_HEADER = "last-event-id"
STREAM_HEADERS = (
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),  # nginx collects a response into buffers otherwise
)
HEARTBEAT = b": still here\n\n"
ERROR_EVENT = "error"
TERMINAL = "answer_completed"

_EVENT_ID = re.compile(r"(.{1,128}):(\d{1,18})")
_LINE_END = re.compile(r"\r\n|\r|\n")


class EventEncoder(Protocol):
    """Turns the events of one answer into frames, in order; it may keep state between them."""

    def encode(self, event: Event, event_id: str) -> bytes: ...

    def encode_error(self, error: Json) -> bytes: ...


class TypedEncoder:
    """The contract's own events, each named after its field: answer.started, answer.delta ..."""

    def encode(self, event: Event, event_id: str) -> bytes:
        kind = event.WhichOneof("event")
        if kind is None:  # an event newer than this gateway
            return b""
        return frame(kind.replace("_", "."), to_json(getattr(event, kind)).decode(), event_id)

    def encode_error(self, error: Json) -> bytes:
        return frame(ERROR_EVENT, dump(error).decode())


def frame(name: str, data: str, event_id: str = "") -> bytes:
    """One event on the wire; line ends inside the data become data lines, so that a reader gets them back."""
    lines = [f"event: {name}"]
    if event_id:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return ("\n".join(lines) + "\n\n").encode()


def marker(event_id: str) -> bytes:
    """An id alone: what a reader resumes after, and an event for nobody (HTML standard 9.2.6)."""
    return f"id: {event_id}\n\n".encode()


class EventStreams:
    """Serves answers as event streams.

    Args:
        buffer: Holds what can be resumed.
        heartbeat_s: Silence after which a comment is sent.
    """

    def __init__(self, buffer: AnswerBuffer, telemetry: Telemetry, *, heartbeat_s: float) -> None:
        self._buffer = buffer
        self._heartbeat_s = heartbeat_s
        self._active = telemetry.gauge(metrics.STREAMS)
        self._resumes = telemetry.counter(metrics.RESUMES)

    async def serve(
        self,
        exchange: Exchange,
        encoder: EventEncoder,
        ask: Callable[[], AsyncIterator[Event]],
    ) -> None:
        """The answer that `ask` begins, as the response. Call after the body was read."""
        reader = self._buffer.begin(ask(), _owner(exchange))
        with self._active.track_inprogress():
            await exchange.while_connected(self._relay(exchange, reader, encoder, after=0))

    async def resume(self, exchange: Exchange, encoder: EventEncoder) -> bool:
        """Serve the rest of the answer Last-Event-ID names, or 204; False when the request names none."""
        last_id = exchange.headers.get(LAST_EVENT_ID_HEADER, "")
        if not last_id:
            return False
        found = _EVENT_ID.fullmatch(last_id)
        reader = self._buffer.find(found[1], _owner(exchange)) if found else None
        self._resumes.labels("held" if reader else "gone").inc()
        if reader is None or found is None:
            await exchange.respond(204)
        else:
            with self._active.track_inprogress():
                await exchange.while_connected(self._relay(exchange, reader, encoder, after=int(found[2])))
        return True

    async def _relay(self, exchange: Exchange, reader: AnswerReader, encoder: EventEncoder, *, after: int) -> None:
        with reader:
            frames = _Frames(encoder, after)
            try:
                await self._relay_events(exchange, reader, frames)
            except RagError as error:
                if not exchange.is_started:
                    raise
                await exchange.finish(encoder.encode_error(problem(error, exchange.request_id)))

    async def _relay_events(self, exchange: Exchange, reader: AnswerReader, frames: _Frames) -> None:
        # Without a byte sent there is nothing to keep alive: wait for the first event as long as it takes.
        while (events := await reader.next(self._heartbeat_s if exchange.is_started else None)) is not None:
            data = b"".join(frames.of(events))
            if not exchange.is_started and (data or not frames.is_resumed):
                await exchange.start(200, CONTENT_TYPE, STREAM_HEADERS)
            if data or (exchange.is_started and not events):
                await exchange.write(data or HEARTBEAT)
        if not frames.is_whole:
            raise BackendUnavailable("the answer broke off before its end; ask again")
        if exchange.is_started:
            await exchange.finish()
        else:  # resumed after the last event
            await exchange.respond(204)


class _Frames:
    """Encodes every event of an answer, keeps quiet about those the caller has, and watches for the last one."""

    def __init__(self, encoder: EventEncoder, after: int) -> None:
        self._encoder = encoder
        self._after = after
        self._answer_id = ""
        self.is_whole = False

    @property
    def is_resumed(self) -> bool:
        return self._after > 0

    def of(self, events: Sequence[Event]) -> Iterator[bytes]:
        for event in events:
            if event.WhichOneof("event") == "answer_started":
                self._answer_id = event.answer_started.answer_id
            self.is_whole = self.is_whole or event.WhichOneof("event") == TERMINAL
            encoded = self._encoder.encode(event, f"{self._answer_id}:{event.sequence}")
            if event.sequence > self._after:
                yield encoded


def _owner(exchange: Exchange) -> str:
    return owner_of(exchange.headers.get("authorization", ""))
