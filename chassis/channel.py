"""A channel that knows our rules: every call has a timeout, relays who asks and under which trace, and is counted.

Rule 1: a call without a timeout hangs for ever when the other side does. It is refused before anything is sent.
Rule 2: a call never outlives the call it is made for: its timeout is cut to what the current budget leaves, less the
        reserve this hop needs to answer.
Rule 3: nothing stands between the caller and gRPC's own call object. gRPC's client interceptors, and OpenTelemetry's
        instrumentation made of them, run each call in a task of their own and hand out a wrapper: early cancels and
        done-callbacks get lost there. Here the arguments are changed, and the call returned is gRPC's.
Rule 4: no retries here. Istio or chassis.retry does them, each on its own hops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import grpc

from chassis import context
from chassis.address import through
from chassis.errors import DeadlineExceeded, InternalError
from chassis.observation import ClientObserver
from chassis.telemetry import Telemetry, trace_headers

RECONNECT_MS: Final = 100  # first and shortest; gRPC's defaults take 4 to 5 s after a restart, these 0.2 to 0.4
RECONNECT_MAX_MS: Final = 500
CONNECT_MS: Final = 1_000  # of one attempt, by its odd name min_reconnect_backoff; busy machines stall for 100 ms
KEEPALIVE_MS: Final = 10_000  # our servers allow 5 s
# Without it a hung peer is noticed after 60 s, in spite of keepalive. 500 is enough in quiet: under 300 asks at once a
# process on two cores stalls for longer, and every call of the connection died with it.
PING_TIMEOUT_MS: Final = 2_000
# The peer is on this machine: its socket closes when it dies, so that a late ping can only mean a stall.
LOCAL_PING_TIMEOUT_MS: Final = 20_000
MAX_RECEIVE_BYTES: Final = 36 * 1024 * 1024  # the text of a 32 MiB document, and its envelope
MAX_METADATA_BYTES: Final = 16 * 1024


class TimeoutMissing(InternalError):
    """A call was made without a timeout: a bug of the calling code."""


def open_channel(
    address: str,
    *,
    telemetry: Telemetry | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    keepalive_ms: int | None = None,
    relays_caller: bool = True,
    proxy: str = "",
) -> grpc.aio.Channel:
    """A channel to one of our services; connects by itself, closed with `await channel.close()`.

    Args:
        address: "host:port", "unix:/path" or another gRPC target.
        telemetry: Where client spans and numbers go; None leaves none.
        credentials: TLS; None where the mesh or the machine is the boundary.
        keepalive_ms: Between two pings, KEEPALIVE_MS when None; a server that allows fewer ends the connection.
        relays_caller: False for a server that is not ours: it gets the variant, by which the mesh routes, and never
            the caller's credentials.
        proxy: A sidecar's outbound listeners, see chassis.address.through; empty dials the address itself.
    """
    options = _options(address, KEEPALIVE_MS if keepalive_ms is None else keepalive_ms)
    if dialled := through(proxy, address):
        options.append(("grpc.default_authority", address))  # by it the sidecar finds the service
        address = dialled
    if credentials is None:
        inner = grpc.aio.insecure_channel(address, options=options)
    else:
        inner = grpc.aio.secure_channel(address, credentials, options=options)
    return FramedChannel(inner, ClientObserver(telemetry) if telemetry is not None else None, relays_caller)


class FramedChannel(grpc.aio.Channel):
    """A channel whose calls follow the rules above; generated stubs work on it as on any other."""

    def __init__(self, inner: grpc.aio.Channel, observer: ClientObserver | None, relays_caller: bool = True) -> None:
        self._inner = inner
        self._observer = observer
        self._relays_caller = relays_caller

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._framed(method, self._inner.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._framed(method, self._inner.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._framed(method, self._inner.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._framed(method, self._inner.stream_stream(method, *args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_val, exc_tb)

    def _framed(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return partial(_start, method, call, self._observer, relays_caller=self._relays_caller)


def _start(  # the rest is the signature of gRPC's multi-callables
    method: str,
    call: Callable[..., Any],
    observer: ClientObserver | None,
    request: Any = None,
    *,
    timeout: float | None = None,
    metadata: Any = None,
    relays_caller: bool = True,
    **kwargs: Any,
) -> Any:
    """Begin a call as gRPC would, with our timeout and headers."""
    headers = list(metadata or ())
    allowed_s = _timeout_s(method, timeout)
    _relay(headers, relays_caller)
    positional = () if request is None else (request,)
    if observer is None:
        return call(*positional, timeout=allowed_s, metadata=headers, **kwargs)
    opened = observer.start(method)
    headers += trace_headers(opened[0]).items()
    started = call(*positional, timeout=allowed_s, metadata=headers, **kwargs)
    started.add_done_callback(lambda ended: observer.finish(method, opened, _code_of(ended)))
    return started


def _timeout_s(method: str, timeout: float | None) -> float:
    if timeout is None:
        raise TimeoutMissing(f"{method} was called without timeout=")
    serving = context.peek()
    allowed_s = timeout if serving is None else min(timeout, serving.budget.less().remaining_s())
    if allowed_s <= 0:
        raise DeadlineExceeded("the deadline passed before the next service could be asked")
    return allowed_s


def _relay(headers: list[tuple[str, str | bytes]], relays_caller: bool) -> None:
    """Add what the call being served carries, unless the caller set it; to others' servers only the variant."""
    serving = context.peek()
    if serving is None:
        return
    given = {name for name, _ in headers}
    carried = {
        context.VARIANT_HEADER: serving.variant,  # the mesh routes by it, whoever's server it is
    }
    if relays_caller:
        carried |= {context.REQUEST_ID_HEADER: serving.request_id, context.CREDENTIALS_HEADER: serving.credentials}
    headers += [(name, value) for name, value in carried.items() if value and name not in given]


def _code_of(ended: Any) -> grpc.StatusCode:
    """The code of an ended call. `code()` is a coroutine, but one that no longer waits: one step finishes it."""
    step = ended.code()
    try:
        step.send(None)
    except StopIteration as finished:
        code: grpc.StatusCode = finished.value
        return code
    step.close()
    return grpc.StatusCode.UNKNOWN


def _options(address: str, keepalive_ms: int) -> list[tuple[str, int | str]]:
    is_local = address.startswith("unix:")
    ping_timeout_ms = LOCAL_PING_TIMEOUT_MS if is_local else PING_TIMEOUT_MS
    options: list[tuple[str, int | str]] = [
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", ping_timeout_ms),
        ("grpc.http2.ping_timeout_ms", ping_timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),  # else pinging stops after two, and a silent stream waits for ever
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.use_local_subchannel_pool", 1),  # two channels are two connections, each with its own streams
        ("grpc.service_config_disable_resolution", 1),  # no DNS TXT lookups: they delay the first call
        ("grpc.enable_http_proxy", 0),  # calls between services never go through a proxy of the environment
    ]
    if is_local:
        options.append(("grpc.default_authority", "localhost"))  # else the path, which servers in Go refuse
    return options
