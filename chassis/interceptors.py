"""The frame around every call a server takes. It is a security control: nothing reaches a caller but through it.

Rule 1: an exception's text never leaves. RagError says what it says on purpose; anything else is INTERNAL with a
        request id. So this is the outermost (and only) interceptor, and it also decodes requests and encodes responses:
        done by gRPC itself, a malformed message would come back as UNKNOWN with Python's words in it.
Rule 2: order: id, span and counters; identity; decoding and size; a place (admission); the deadline; the servicer.
        Health and reflection skip identity and admission: a busy pod must still answer its probes.
Rule 3: one call is one task from beginning to end. A response stream is closed in that task, so a servicer's `finally`
        has run before the call counts as over.
Rule 4: cancelling is passed on untouched. Only the force at the end of a drain turns it into a status.

OpenTelemetry's own server interceptor is not used: it records exceptions, text and stack, on spans (Rule 1), and wraps
streams in generators that are closed late, by the garbage collector (Rule 3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from chassis import context, status
from chassis.admission import Admission
from chassis.auth import Authenticator
from chassis.budget import DEFAULT_BUDGET_S, HOP_RESERVE_S, Budget
from chassis.calls import OpenCall, OpenCalls
from chassis.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    MalformedMessage,
    MessageTooLarge,
    MethodUnknown,
    RagError,
    ShuttingDown,
)
from chassis.observation import ServerObserver

MAX_BUDGET_S: Final = 600.0  # a deadline further away than this is no deadline: it would hold a place all day
ANSWER_RESERVE_S: Final = HOP_RESERVE_S / 2  # stop this much early, so that a typed status beats the caller's own timer
EXEMPT_SERVICES: Final = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)
UNKNOWN: Final = "unknown"

ServicerContext = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, ServicerContext], Any]
_FACTORIES: Final[Mapping[tuple[bool, bool], Callable[..., Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a bound service, as the frame needs it."""

    name: str
    behaviour: Behaviour
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    takes_stream: bool
    gives_stream: bool
    max_message_bytes: int

    @property
    def service(self) -> str:
        return self.name[1:].rpartition("/")[0]

    @property
    def is_exempt(self) -> bool:
        return self.service in EXEMPT_SERVICES


class CallFrame(grpc.aio.ServerInterceptor):
    """See the rules above.

    Args:
        authenticator: Turns headers into an identity.
        admission: Gives calls their places.
        observer: Spans, counters and log lines.
        calls: The calls that are open, for draining.
        max_message_bytes: Largest request message by full method name.
        default_max_bytes: For methods not named.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        admission: Admission,
        observer: ServerObserver,
        calls: OpenCalls,
        max_message_bytes: Mapping[str, int],
        default_max_bytes: int,
    ) -> None:
        self._authenticator = authenticator
        self._admission = admission
        self._observer = observer
        self._calls = calls
        self._max_bytes = max_message_bytes
        self._default_max_bytes = default_max_bytes
        self._framed: dict[str, Any] = {}  # grows by bound methods only
        self._unknown: Any = grpc.stream_stream_rpc_method_handler(self._refuse_unknown)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The framed handler of a method; one that refuses, for a method nobody has."""
        name = handler_call_details.method
        framed = self._framed.get(name)
        if framed is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return self._unknown
            framed = self._framed[name] = self._frame(name, handler)
        return framed

    def _frame(self, name: str, handler: Any) -> Any:
        shape = (bool(handler.request_streaming), bool(handler.response_streaming))
        method = Method(
            name=name,
            behaviour=handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream,
            decode=handler.request_deserializer or bytes,
            encode=handler.response_serializer or bytes,
            takes_stream=shape[0],
            gives_stream=shape[1],
            max_message_bytes=self._max_bytes.get(name, self._default_max_bytes),
        )

        async def run(payload: Any, servicer_context: ServicerContext) -> bytes | None:
            return await self._serve(method, payload, servicer_context)

        return _FACTORIES[shape](run)  # no (de)serialisers: the frame does both, under its own error handling

    async def _serve(self, method: Method, payload: Any, rpc: ServicerContext) -> bytes | None:
        headers = _headers(rpc)
        request_id = context.accepted_request_id(headers.get(context.REQUEST_ID_HEADER, ""))
        rpc.set_trailing_metadata(((context.REQUEST_ID_HEADER, request_id),))
        with (
            self._calls.opened(is_exempt=method.is_exempt) as call,
            self._observer.observe(method.service, method.name, headers, request_id) as observed,
        ):
            try:
                return await self._answer(method, payload, rpc, _Arrival(headers, request_id))
            except grpc.aio.AbortError:
                observed.end(rpc.code())
                raise
            except asyncio.CancelledError:
                error = _meaning_of_cancel(call)
                if error is None:
                    observed.cancelled()
                    raise
                refusal: RagError = error
            except RagError as error:
                refusal = error
            except Exception as error:  # noqa: BLE001  # the one place where everything is caught
                refusal = _unwrapped(error)
            observed.refused(refusal)
            return await _abort(rpc, refusal, request_id)

    async def _answer(self, method: Method, payload: Any, rpc: ServicerContext, arrival: _Arrival) -> bytes | None:
        if method.gives_stream:  # a stream's trailers come late; its reader wants the id now
            await rpc.send_initial_metadata(((context.REQUEST_ID_HEADER, arrival.request_id),))
        if method.is_exempt:
            return await _run(method, _decoded(method, payload), rpc)
        identity = self._authenticator.authenticate(arrival.headers)
        request = _decoded(method, payload)
        budget = _budget(rpc)
        call = context.CallContext(
            request_id=arrival.request_id,
            identity=identity,
            credentials=arrival.headers.get(context.CREDENTIALS_HEADER, ""),
            variant=context.accepted_variant(arrival.headers.get(context.VARIANT_HEADER, "")),
            budget=budget,
            arrived_at=budget.clock(),
        )
        with context.use(call):
            async with self._admission.place(method.name, budget):
                self._observer.admitted(method.service, method.name, budget.clock() - call.arrived_at)
                return await _within(budget, _run(method, request, rpc))

    async def _refuse_unknown(self, requests: Any, rpc: ServicerContext) -> None:
        del requests
        headers = _headers(rpc)
        request_id = context.accepted_request_id(headers.get(context.REQUEST_ID_HEADER, ""))
        refusal = MethodUnknown("there is no such method; reflection lists those there are")
        with self._observer.observe(UNKNOWN, f"/{UNKNOWN}/{UNKNOWN}", headers, request_id) as observed:
            observed.refused(refusal)
            await _abort(rpc, refusal, request_id)


@dataclass(frozen=True, slots=True)
class _Arrival:
    headers: Mapping[str, str]
    request_id: str


class _Requests:
    """A request stream, decoded message by message as the servicer asks for them."""

    def __init__(self, method: Method, raw: AsyncIterator[bytes]) -> None:
        self._method = method
        self._raw = raw
        self._started: AsyncIterator[bytes] | None = None  # not before the first read: gRPC warns of an unused one

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        if self._started is None:
            self._started = aiter(self._raw)
        return _message(self._method, await anext(self._started))


def _decoded(method: Method, payload: Any) -> Any:
    return _Requests(method, payload) if method.takes_stream else _message(method, payload)


def _message(method: Method, raw: bytes) -> Any:
    if len(raw) > method.max_message_bytes:
        limit = str(method.max_message_bytes)
        raise MessageTooLarge(f"the message is over {limit} bytes; send less", metadata={"limit_bytes": limit})
    try:
        return method.decode(raw)
    except DecodeError:
        raise MalformedMessage("the bytes are not the message this method takes; check the contract") from None


async def _run(method: Method, request: Any, rpc: ServicerContext) -> bytes | None:
    if not method.gives_stream:
        return method.encode(await method.behaviour(request, rpc))
    async with aclosing(method.behaviour(request, rpc)) as responses:
        async for response in responses:
            await rpc.write(method.encode(response))
    return None


async def _within(budget: Budget, work: Coroutine[Any, Any, bytes | None]) -> bytes | None:
    """Await the work, ending it when the budget is nearly spent; also for callers who named no deadline."""
    timer = asyncio.timeout(max(0.0, budget.remaining_s() - ANSWER_RESERVE_S))
    try:
        async with timer:
            return await work
    except TimeoutError:
        if timer.expired():
            raise DeadlineExceeded("the deadline passed before there was an answer; allow more time") from None
        raise


def _budget(rpc: ServicerContext) -> Budget:
    named: float | None = rpc.time_remaining()
    return Budget.of(min(DEFAULT_BUDGET_S if named is None else named, MAX_BUDGET_S))


def _headers(rpc: ServicerContext) -> dict[str, str]:
    """Text headers, the first of each name: a second authorization or id is somebody's trick."""
    headers: dict[str, str] = {}
    for key, value in rpc.invocation_metadata() or ():
        if isinstance(value, str):
            headers.setdefault(key, value)
    return headers


async def _abort(rpc: ServicerContext, error: RagError, request_id: str) -> NoReturn:
    refusal = status.to_rpc_status(error, request_id)
    trailers = ((status.DETAILS_HEADER, refusal.SerializeToString()), (context.REQUEST_ID_HEADER, request_id))
    await rpc.abort(status.code_of(error.reason), refusal.message, trailers)


def _meaning_of_cancel(call: OpenCall) -> RagError | None:
    """What a CancelledError is: the end of a drain, something cancelled inside, or (None) the caller leaving."""
    task = asyncio.current_task()
    assert task is not None, "a call is served by a task"
    if call.is_forced:
        task.uncancel()  # the status still has to be sent
        return ShuttingDown("the server is shutting down; another one answers")
    if task.cancelling() == 0:
        return Cancelled("the work was cancelled")
    return None


def _unwrapped(error: Exception) -> RagError:
    """What to tell the caller: a task group's failure is its first typed one; anything untyped is our bug."""
    if isinstance(error, RagError):
        return error
    if isinstance(error, ExceptionGroup):
        inner = [_unwrapped(each) for each in error.exceptions]
        return next((each for each in inner if not isinstance(each, InternalError)), inner[0])
    internal = InternalError("uncaught exception")
    internal.__cause__ = error
    return internal
