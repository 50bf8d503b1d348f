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
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc

from chassis import context, status
from chassis.admission import Admission
from chassis.auth import Authenticator
from chassis.budget import DEFAULT_BUDGET_S, HOP_RESERVE_S, Budget
from chassis.calls import OpenCall, OpenCalls
from chassis.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    MethodUnknown,
    RagError,
    ShuttingDown,
)
from chassis.methods import Method, ServicerContext
from chassis.observation import ServerObserver

MAX_BUDGET_S: Final = 600.0  # a deadline further away than this is no deadline: it would hold a place all day
MAX_UPLOAD_S: Final = 86_400.0  # a request stream: paced by flow control, in a pool of its own, its items bounded each
ANSWER_RESERVE_S: Final = HOP_RESERVE_S / 2  # stop this much early, so that a typed status beats the caller's own timer
UNKNOWN: Final = "unknown"


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
        method = Method.of(name, handler, self._max_bytes.get(name, self._default_max_bytes))

        async def run(payload: Any, servicer_context: ServicerContext) -> bytes | None:
            return await self._serve(method, payload, servicer_context)

        return method.handled_by(run)

    async def _serve(self, method: Method, payload: Any, rpc: ServicerContext) -> bytes | None:
        headers = _headers(rpc)
        request_id = context.accepted_request_id(headers.get(context.REQUEST_ID_HEADER, ""))
        received = method.received(payload)
        rpc.set_trailing_metadata(((context.REQUEST_ID_HEADER, request_id),))
        with (
            self._calls.opened(is_exempt=method.is_exempt) as call,
            self._observer.observe(method.service, method.name, headers, request_id) as observed,
        ):
            try:
                return await self._answer(method, received, rpc, _Arrival(headers, request_id))
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
            if method.takes_stream:
                await received.let_sender_end()
            return await _abort(rpc, refusal, request_id)

    async def _answer(self, method: Method, payload: Any, rpc: ServicerContext, arrival: _Arrival) -> bytes | None:
        if method.gives_stream:  # a stream's trailers come late; its reader wants the id now
            await rpc.send_initial_metadata(((context.REQUEST_ID_HEADER, arrival.request_id),))
        if method.is_exempt:
            return await method.run(method.decoded(payload), rpc)
        identity = self._authenticator.authenticate(arrival.headers)
        request = method.decoded(payload)
        budget = _budget(method, rpc)
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
                return await _within(budget, method.run(request, rpc))

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


def _budget(method: Method, rpc: ServicerContext) -> Budget:
    """The caller's deadline within reason; a request stream lasts as long as its caller keeps sending."""
    default_s, cap_s = (MAX_UPLOAD_S, MAX_UPLOAD_S) if method.takes_stream else (DEFAULT_BUDGET_S, MAX_BUDGET_S)
    named: float | None = rpc.time_remaining()
    return Budget.of(min(default_s if named is None else named, cap_s))


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
