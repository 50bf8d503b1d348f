"""What a path means: the contract's rpcs, the original's routes, the gateway's own pages. First match wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from chassis.errors import MalformedMessage, MethodUnknown
from gateway.exchange import Exchange
from gateway.json_message import to_json
from gateway.problems import respond_method_not_allowed, respond_problem
from gateway.replay import Event
from gateway.routes import WHOLE_BODY, Match, RouteTable
from gateway.settings import GatewaySettings
from gateway.sse import EventStreams, TypedEncoder
from gateway.transcoder import to_request
from gateway.upload import Uploads, is_raw
from gateway.upstream import Upstream

INLINE_BYTES = 64 * 1024  # decoding more takes over a millisecond and goes to a thread

UNMATCHED = "unmatched"

Handler = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What serves a request.

    Attributes:
        uri: The route as metrics and traces know it: from a closed set.
        default_timeout_s: When the caller names no deadline.
    """

    uri: str
    handle: Handler
    default_timeout_s: float


class Rpcs:
    """Serves the annotated rpcs of the contracts."""

    def __init__(self, upstream: Upstream, streams: EventStreams, uploads: Uploads, settings: GatewaySettings) -> None:
        self._upstream = upstream
        self._streams = streams
        self._uploads = uploads
        self._settings = settings

    def endpoint(self, exchange: Exchange, match: Match) -> Endpoint:
        route, settings = match.route, self._settings
        if route.method.server_streaming:
            return Endpoint(route.template, partial(self._stream, match=match), settings.default_timeout_s)
        if self._is_document(match):
            handle = self._uploads.put if is_raw(exchange) else self._unary
            return Endpoint(route.template, partial(handle, match=match), settings.upload_timeout_s)
        return Endpoint(route.template, partial(self._unary, match=match), settings.default_timeout_s)

    @staticmethod
    def _is_document(match: Match) -> bool:
        """A method whose body is a resource, not a question: it may be large, and come as a file."""
        return match.route.body not in {"", WHOLE_BODY}

    async def _unary(self, exchange: Exchange, match: Match) -> None:
        cap = self._settings.max_document_json_bytes if self._is_document(match) else self._settings.max_ask_bytes
        body = await exchange.body(cap) if match.route.body else b""
        if len(body) <= INLINE_BYTES:
            request = to_request(match, body, exchange.query)
        else:
            request = await asyncio.to_thread(to_request, match, body, exchange.query)
        call = self._upstream.call(match.route.method, request, exchange.budget)
        await exchange.respond(200, to_json(await exchange.while_connected(call)))

    async def _stream(self, exchange: Exchange, match: Match) -> None:
        if await self._streams.resume(exchange, TypedEncoder()):
            return
        request = to_request(match, await exchange.body(self._settings.max_ask_bytes), exchange.query)

        def ask() -> AsyncIterator[Event]:
            events = self._upstream.stream(match.route.method, request, exchange.budget)
            return cast("AsyncIterator[Event]", events)

        await self._streams.serve(exchange, TypedEncoder(), ask)


class Router:
    """Finds the endpoint of a request.

    Args:
        fixed: Path -> HTTP method -> endpoint; files of the page among them.
        rpcs: Serves what `table` finds.
    """

    def __init__(self, fixed: Mapping[str, Mapping[str, Endpoint]], table: RouteTable, rpcs: Rpcs) -> None:
        self._fixed = fixed
        self._table = table
        self._rpcs = rpcs

    def resolve(self, exchange: Exchange) -> Endpoint:
        """The endpoint; one that refuses, when there is none."""
        path = exchange.raw_path
        verb = "GET" if exchange.method == "HEAD" else exchange.method
        if (here := self._fixed.get(path)) is not None and verb in here:
            return here[verb]
        try:
            match = self._table.find(verb, path)
        except MalformedMessage as error:
            return _refusing(partial(respond_problem, error=error))
        if match is not None:
            return self._rpcs.endpoint(exchange, match)
        return self._unmatched(exchange, (*(here or ()), *self._table.verbs(path)))

    @staticmethod
    def _unmatched(exchange: Exchange, verbs: tuple[str, ...]) -> Endpoint:
        if not verbs:
            error = MethodUnknown("there is no such route; /docs lists them")
            return _refusing(partial(respond_problem, error=error))
        allowed = sorted({*verbs, "OPTIONS", *(("HEAD",) if "GET" in verbs else ())})
        if exchange.method == "OPTIONS":
            headers = (("allow", ", ".join(allowed)),)
            return _refusing(partial(Exchange.respond, status=204, headers=headers))
        return _refusing(partial(respond_method_not_allowed, verbs=allowed))


def _refusing(handle: Handler) -> Endpoint:
    return Endpoint(UNMATCHED, handle, 30.0)
