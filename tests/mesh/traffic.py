"""A load on the mesh, as its users make one: short asks at a steady rate, and streams of which so many are always open.

Callers come by two doors, in turns: gRPC to the orchestrator, and REST to the gateway. Both go out through one sidecar.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import httpx
from google.protobuf.json_format import ParseDict
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from askmesh.rig.fleet import ADDRESSES, DOMAIN, PORTS
from askmesh.rig.mesh import Member
from chassis.channel import open_channel
from chassis.errors import BackendUnavailable
from chassis.status import from_rpc_error
from tests.faults.processes import IS_CAMPAIGN

RATE = 20 if IS_CAMPAIGN else 10  # asks a second
STREAMS = 20  # open at any time
PAUSE_S = 1.0  # after a stream that failed
PATIENCE_S = 120.0  # the caller's deadline: what is tested is whether an answer comes, and whole
SHORT = pb.GenerationLimits(max_tokens=8)
LONG = pb.GenerationLimits(max_tokens=400)
OVERLOADED = "OVERLOADED"  # the reason, in a status and in the gateway's JSON alike
GATEWAY = f"gateway.{DOMAIN}:{PORTS['gateway']['http-rest']}"


@dataclass(eq=False)
class Ask:
    """One ask and what came of it.

    Attributes:
        began: On `time.monotonic`, as `ended`, which is 0 while it is open.
        words: Deltas so far.
        failure: A status or a broken connection; "" for a whole answer.
        models: That made it; more than one would be a mixed answer.
        documents: It was made from.
        losses: What it had to do without, and "partial".
    """

    door: str
    is_stream: bool
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    words: int = 0
    failure: str = ""
    models: set[str] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    losses: list[str] = field(default_factory=list)
    is_whole: bool = False

    @property
    def is_shed(self) -> bool:
        """A server had too much to do and said so, with the time to ask again: no failure, but counted."""
        return OVERLOADED in self.failure

    def note(self, event: pb.StreamAskResponse) -> None:
        match event.WhichOneof("event"):
            case "answer_started":
                self.models.add(event.answer_started.model)
            case "retrieval_completed":
                self.documents |= {source.document_id for source in event.retrieval_completed.sources}
            case "answer_delta":
                self.words += 1
                self.models |= {word for word in event.answer_delta.text.split() if word.startswith("paced-")}
            case "answer_completed":
                self._note_end(event.answer_completed)

    def note_answer(self, answer: pb.AskResponse) -> None:
        """A unary reply is its stream's events, folded."""
        self.note(pb.StreamAskResponse(answer_started=answer.started))
        self.note(pb.StreamAskResponse(retrieval_completed=answer.retrieval))
        self.note(pb.StreamAskResponse(answer_delta=pb.AnswerDelta(text=answer.text)))
        self.note(pb.StreamAskResponse(answer_completed=answer.completed))

    def _note_end(self, completed: pb.AnswerCompleted) -> None:
        self.is_whole = True
        self.losses += [pb.DegradedReason.Name(lost.reason) for lost in completed.degraded]
        self.losses += ["partial"] if completed.is_partial else []


class Door(Protocol):
    """A way in. Both methods raise what their library raises."""

    name: str

    @abstractmethod
    async def answer(self, request: pb.AskRequest) -> pb.AskResponse: ...

    @abstractmethod
    def events(self, request: pb.AskRequest) -> AsyncIterator[pb.StreamAskResponse]: ...


class GrpcDoor:
    """The orchestrator's own API."""

    name = "gRPC"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.OrchestratorServiceStub(channel)

    async def answer(self, request: pb.AskRequest) -> pb.AskResponse:
        return await self._stub.Ask(request, timeout=PATIENCE_S)

    async def events(self, request: pb.AskRequest) -> AsyncIterator[pb.StreamAskResponse]:
        call = self._stub.StreamAsk(request, timeout=PATIENCE_S)
        try:
            async for event in call:
                yield event
        finally:
            call.cancel()


class RestDoor:
    """The gateway's JSON and server-sent events."""

    name = "REST"

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def answer(self, request: pb.AskRequest) -> pb.AskResponse:
        reply = await self._client.post("/v1/collections/docs:ask", json=_json(request))
        if reply.status_code != httpx.codes.OK:
            raise RefusedByGateway(f"{reply.status_code} {reply.text[:300]}")
        return ParseDict(reply.json(), pb.AskResponse(), ignore_unknown_fields=True)

    async def events(self, request: pb.AskRequest) -> AsyncIterator[pb.StreamAskResponse]:
        async with self._client.stream("POST", "/v1/collections/docs:streamAsk", json=_json(request)) as reply:
            if reply.status_code != httpx.codes.OK:
                raise RefusedByGateway(f"{reply.status_code} {(await reply.aread())[:300]!r}")
            kind = ""
            async for line in reply.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield _event(kind, value)


class RefusedByGateway(Exception):
    """A status, or an error event."""


def _json(request: pb.AskRequest) -> dict[str, Any]:
    return {"question": request.question, "limits": {"maxTokens": request.limits.max_tokens}}


def _event(kind: str, data: str) -> pb.StreamAskResponse:
    if kind == "error":
        raise RefusedByGateway(f"error event {data[:300]}")
    return ParseDict({kind.replace(".", "_"): json.loads(data)}, pb.StreamAskResponse(), ignore_unknown_fields=True)


class Load:
    """A load under way.

    Attributes:
        asks: All that have begun, streams among them.
    """

    def __init__(self, doors: Sequence[Door]) -> None:
        self.asks: list[Ask] = []
        self._doors = itertools.cycle(doors)
        self._numbers = itertools.count()
        self._name = uuid.uuid4().hex[:8]
        self._ending = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def open_streams(self) -> list[Ask]:
        """That have begun to speak."""
        return [ask for ask in self.asks if ask.is_stream and ask.words and not ask.ended]

    def failed(self) -> list[str]:
        """Of what has ended, all that is neither a whole answer nor shed, in words."""
        return [
            f"{ask.door} {'stream' if ask.is_stream else 'ask'} after {ask.ended - ask.began:.2f} s and {ask.words} "
            f"words: {ask.failure}"
            for ask in self.asks
            if ask.failure and not ask.is_shed
        ]

    async def until_all_open(self) -> list[Ask]:
        """Every stream of the load speaks; returns them."""
        await self._until(lambda: len(self.open_streams) == STREAMS)
        return self.open_streams

    async def until_said(self, streams: Sequence[Ask], words: int) -> None:
        """Each of these has said so many words more, or has ended."""
        wanted = [(stream, stream.words + words) for stream in streams]
        await self._until(lambda: all(stream.words >= words or stream.ended for stream, words in wanted))

    async def until_asked(self, count: int) -> list[Ask]:
        """So many short asks more have begun and ended; returns them."""
        first = len(self.asks)

        def new() -> list[Ask]:
            return [ask for ask in self.asks[first:] if not ask.is_stream]

        await self._until(lambda: len([ask for ask in new()[:count] if ask.ended]) == count)
        return new()[:count]

    def end(self) -> None:
        """Nothing more begins."""
        self._ending.set()

    async def run(self) -> None:
        """Until `end`, and then until everything that is open has ended."""
        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS):
                group.create_task(self._keep_one_open())
            await self._ask_on(group)

    async def _ask_on(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in itertools.count():
            try:
                async with asyncio.timeout_at(started + number / RATE):
                    await self._ending.wait()
                return
            except TimeoutError:
                group.create_task(self._one(is_stream=False))

    async def _keep_one_open(self) -> None:
        while not self._ending.is_set():
            ask = await self._one(is_stream=True)
            if ask.failure:
                with suppress(TimeoutError):  # as a person does, or one failure would make a thousand
                    async with asyncio.timeout(PAUSE_S):
                        await self._ending.wait()

    async def _one(self, *, is_stream: bool) -> Ask:
        door = next(self._doors)
        # A question of its own, or one flight and one cached answer would serve them all.
        question = f"Case {self._name}-{next(self._numbers)}: how long does a lease last?"
        request = pb.AskRequest(collection="docs", question=question, limits=LONG if is_stream else SHORT)
        ask = Ask(door.name, is_stream)
        self.asks.append(ask)
        try:
            await self._asked(door, request, ask)
        except grpc.aio.AioRpcError as error:
            ask.failure = f"{from_rpc_error(error, BackendUnavailable).reason}: {error.code().name} {error.details()}"
        except (httpx.HTTPError, RefusedByGateway) as error:
            ask.failure = f"{type(error).__name__} {error}"
        ask.ended = time.monotonic()
        if not ask.failure and not ask.is_whole:
            ask.failure = "it ended without its last event"
        self._changed.set()
        return ask

    async def _asked(self, door: Door, request: pb.AskRequest, ask: Ask) -> None:
        if not ask.is_stream:
            ask.note_answer(await door.answer(request))
            return
        async with aclosing(door.events(request)) as events:  # type: ignore[type-var]  # both doors' are generators
            async for event in events:
                ask.note(event)
                self._changed.set()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running_load(client: Member) -> AsyncIterator[Load]:
    """The load, by both doors, from the sidecar of `client`; at the end of the block every open answer has ended."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(ADDRESSES["orchestrator"], proxy=client.outbound))
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://{client.outbound}:{PORTS['gateway']['http-rest']}",
                headers={"host": GATEWAY, "x-askmesh-timeout-ms": str(round(PATIENCE_S * 1_000))},
                timeout=PATIENCE_S,
                trust_env=False,
            )
        )
        load = Load([GrpcDoor(channel), RestDoor(http)])
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            try:
                yield load
            finally:
                load.end()


def counted(asks: Sequence[Ask]) -> str:
    """For a report: so many by door and kind, and what they lacked."""
    kinds = Counter(f"{ask.door} {'streams' if ask.is_stream else 'asks'}" for ask in asks)
    losses = Counter(loss for ask in asks for loss in ask.losses)
    shed = sum(ask.is_shed for ask in asks)
    counts = [*sorted(kinds.items()), *losses.items(), *([("shed", shed)] if shed else [])]
    return ", ".join(f"{count} {kind}" for kind, count in counts)
