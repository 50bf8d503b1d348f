"""A language model on Triton Inference Server, over its gRPC stream.

Rule 1: one stream per request, and it is cancelled whatever ends the answer: breaking out of the loop alone would leave
        the model generating for nobody.
Rule 2: `triton_grpc_error` asks for errors as the stream's status, so that a mesh sees them, where that is safe for the
        server (see the codecs). Else, and from servers that do not know it, they come inside the stream with status
        OK, and those are read too.
Rule 3: an answer without the FINAL flag broke off, however politely.
Rule 4: time is bounded everywhere: the whole by the budget, the gap between tokens by `stall_timeout_s`.
Rule 5: no word of the server's errors, of the prompt or of the address leaves in a message.

Does not: retry (the pipeline falls back instead), load models, or count tokens that the engine does not count. The raw
stub is used: the client library's stream hides why a bad input was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, ModelCold, ModelOverloaded, ModelUnavailable, RagError
from orchestrator.generation.triton_codecs import Codec
from orchestrator.generation.triton_tensors import Outputs, Tensor
from orchestrator.generation.triton_text import StopFilter
from orchestrator.prompt import GEMMA_STOP, render_gemma
from orchestrator.types import GenerationEvent, ModelInfo, Prompt, Sampling, TextPiece

__all__ = ["KEEPALIVE_MS", "TritonGenerator"]

STALL_TIMEOUT_S = 10.0  # the slowest model worth waiting for gives a token a second; ten misses mean it hangs
KEEPALIVE_MS = 310_000  # Triton allows a ping every 300 s unless told otherwise, and hangs up on who asks more often
STATE_TIMEOUT_S = 0.5  # to ask whether a model that refused is loading: it lists names, a second hop takes 1 ms
COLD_RETRY_S = 30.0  # loading takes 30-50 s
OVERLOADED_RETRY_S = 1.0
_STATUS_PLEASE = (("triton_grpc_error", "true"),)
_FINAL = "triton_final_response"
_SEND_FINAL = {"triton_enable_empty_final_response": pb.InferParameter(bool_param=True)}
_QUEUE_FULL = "maximum queue size"  # Triton says it with UNAVAILABLE, as it does everything else
_ABSENT = ("unknown model", "not at ready state")
# Another codec's contract: "unexpected inference input 'stream' for model ...", "unexpected inference output ...",
# "unexpected shape for input 'text_input' for model ...", "expected number of inputs between 1 and 7 but got 8 inputs
# for model ...", "inference request batch-size must be <= 4 for ..." (core, src/infer_request.cc).
_BAD_REQUEST = ("inference input", "inference output", "for input '", "inputs for model", "request batch-size")
_EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # types-grpcio leaves it out


class TritonGenerator:
    """A Generator over `ModelStreamInfer`.

    Args:
        channel: To Triton; never closed here.
        model: Its name goes to bills, its fingerprint into cache keys; neither is sent.
        codec: The tensor contract of the model.
        served_as: The model's name on Triton.
        version: The version asked for: without one Triton would change it under the cache's feet.
        stop: Sequences to end at; Gemma's end of turn.
        stall_timeout_s: Longest gap between two tokens; the first may take the whole budget (a cold prefill is slow).
        scales_to_zero: A server that cannot be reached is asleep or loading (ModelCold), not broken.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        model: ModelInfo,
        codec: Codec,
        served_as: str,
        version: str = "1",
        stop: tuple[str, ...] = GEMMA_STOP,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        scales_to_zero: bool = False,
    ) -> None:
        self._stub = rpc.GRPCInferenceServiceStub(channel)
        self._model = model
        self._codec = codec
        self._served_as = served_as
        self._version = version
        self._stop = stop
        self._stall_timeout_s = stall_timeout_s
        self._scales_to_zero = scales_to_zero

    @property
    def model(self) -> ModelInfo:
        return self._model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, budget: Budget
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Stream the model's answer; see orchestrator.ports.Generator for what it yields and raises."""
        budget.check("generate")
        reading = self._codec.reading(sampling)
        stop = StopFilter(self._stop)
        async with aclosing(self._responses(self._request(prompt, sampling), budget)) as responses:
            async for outputs in responses:
                text = stop.push(reading.read(outputs))
                if text:
                    yield TextPiece(text)
                if stop.is_stopped:
                    break
        text = stop.push(reading.rest()) + stop.rest()
        if text:
            yield TextPiece(text)
        yield reading.end(is_stopped=stop.is_stopped)

    async def _responses(self, request: pb.ModelInferRequest, budget: Budget) -> AsyncGenerator[Outputs, None]:
        """The outputs of each response, until the one that is final."""
        metadata = _STATUS_PLEASE if self._codec.asks_for_status else ()
        call = self._stub.ModelStreamInfer(_once(request), timeout=budget.remaining_s(), metadata=metadata)
        gap_s = budget.remaining_s()  # until the first token
        is_final = has_begun = False
        try:
            while (response := await self._next(call, budget, gap_s)) is not _EOF:
                if response.error_message:  # what is refused before the model sees it always comes this way
                    raise await self._refusal(None, response.error_message, budget)
                outputs = _outputs(response.infer_response)
                is_final = response.infer_response.parameters[_FINAL].bool_param
                if outputs:
                    gap_s, has_begun = self._stall_timeout_s, True
                yield outputs
        except ModelCold as exc:
            if has_begun:  # whoever was speaking was awake
                raise ModelUnavailable("the model server broke the connection; ask again") from exc
            raise
        finally:
            call.cancel()
        if not is_final:
            raise ModelUnavailable("the model broke off in the middle of the answer; ask again")

    async def _next(self, call: Any, budget: Budget, gap_s: float) -> Any:
        """One message of the stream inside the gap and the budget; gRPC's errors end here."""
        left_s = budget.remaining_s()
        try:
            async with asyncio.timeout(min(gap_s, left_s)):
                return await call.read()
        except TimeoutError as exc:
            if gap_s >= left_s:
                raise _too_late() from exc
            raise ModelUnavailable("the model fell silent in the middle of the answer; ask again") from exc
        except grpc.aio.AioRpcError as exc:
            raise await self._refusal(exc.code(), exc.details() or "", budget) from exc

    async def _refusal(self, code: grpc.StatusCode | None, details: str, budget: Budget) -> RagError:
        """The typed error for an answer that failed; `code` is None for an error sent inside the stream."""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return _too_late()
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED or _QUEUE_FULL in details:
            return ModelOverloaded("the model has no room for another request", retry_after_s=OVERLOADED_RETRY_S)
        if code is grpc.StatusCode.NOT_FOUND or any(words in details for words in _ABSENT):
            return await self._absence(budget)
        if code is grpc.StatusCode.INVALID_ARGUMENT or any(words in details for words in _BAD_REQUEST):
            return ModelUnavailable("the model does not take the chosen codec's request: check the settings")
        if code is grpc.StatusCode.UNAVAILABLE and self._scales_to_zero:
            return ModelCold("the model is being started", retry_after_s=COLD_RETRY_S)
        if code is grpc.StatusCode.UNAVAILABLE:
            return ModelUnavailable("the model server cannot be reached or broke the connection; ask again")
        return ModelUnavailable("the model failed; ask again")

    async def _absence(self, budget: Budget) -> ModelUnavailable:
        """Triton says the same of a model it is loading and of one it never heard of; its index tells them apart."""
        timeout_s = min(STATE_TIMEOUT_S, budget.remaining_s())
        try:
            index = await self._stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return ModelUnavailable("the model is not ready")
        states = {model.state for model in index.models if model.name == self._served_as}
        if "LOADING" in states:
            return ModelCold("the model is loading", retry_after_s=COLD_RETRY_S)
        if states:
            return ModelUnavailable("the model, or the version asked for, is not loaded")
        return ModelUnavailable("the model server knows no such model: check the orchestrator's settings")

    def _request(self, prompt: Prompt, sampling: Sampling) -> pb.ModelInferRequest:
        tensors = self._codec.inputs(render_gemma(prompt), sampling, self._stop)
        named = pb.ModelInferRequest
        return named(
            model_name=self._served_as,
            model_version=self._version,
            parameters=_SEND_FINAL,
            inputs=[named.InferInputTensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in tensors],
            outputs=[named.InferRequestedOutputTensor(name=name) for name in self._codec.outputs],
            raw_input_contents=[tensor.raw for tensor in tensors],
        )


async def _once(request: pb.ModelInferRequest) -> AsyncIterator[pb.ModelInferRequest]:
    yield request


def _outputs(response: pb.ModelInferResponse) -> dict[str, Tensor]:
    """By name; an output without its bytes is left out, so that the codec misses it."""
    pairs = zip(response.outputs, response.raw_output_contents, strict=False)
    return {each.name: Tensor(each.name, each.datatype, tuple(each.shape), raw) for each, raw in pairs}


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("generate: the deadline passed before the model was done")
