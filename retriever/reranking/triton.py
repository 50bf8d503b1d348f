"""Reranks on Triton: a cross-encoder in fp32, all candidates in one request, tokens made here.

The model's contract is deploy/triton/reranking/reranker/config.pbtxt: input_ids, attention_mask, token_type_ids to one
logit per pair.

Rule 1: fp32 only, as in embedding.triton: in a batch an int8 logit depends on its neighbours.
Rule 2: the server's weights are not seen from here, so the fingerprint is what the settings call them; cached answers
        of other weights live on under a name that was not changed.
Rule 3: lengths are padded to a few sizes: Triton's dynamic batching joins only requests of equal shape.
Rule 4: no word of the server's errors, of a text or of the address leaves in a message.

Does not: retry (there is no time), load the model, or answer in parts: a request that is late is of no use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from chassis.budget import Budget
from chassis.channel import open_channel
from chassis.errors import BackendUnavailable, DeadlineExceeded
from chassis.telemetry import Telemetry
from embedding.triton import KEEPALIVE_MS
from retriever.reranking.pairs import PAIR_TOKENS, PairTokenizer, TokenPair, reordered
from retriever.types import Passage

__all__ = ["ServedModel", "TritonReranker"]

BATCH = 32  # the model's max_batch_size in deploy/triton/reranking
LENGTHS = (64, 128, 192, 256, 320, PAIR_TOKENS)  # a step of 64 pads a fifth of a usual pair at most


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on Triton: the name and version it is asked by, and what its weights are called."""

    name: str = "reranker"
    version: str = "1"
    revision: str = ""

    @property
    def fingerprint(self) -> str:
        return f"triton/{self.name}/{self.version}/{self.revision}"


class TritonReranker:
    """A Reranker over `ModelInfer`; `opened` makes one.

    Args:
        channel: To Triton; never closed here.
        tokenizer: Of the model that Triton serves.
    """

    def __init__(self, channel: grpc.aio.Channel, tokenizer: PairTokenizer, model: ServedModel) -> None:
        self._stub = rpc.GRPCInferenceServiceStub(channel)
        self._tokenizer = tokenizer
        self._model = model

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, address: str, tokenizer_file: Path, model: ServedModel, *, telemetry: Telemetry | None = None
    ) -> AsyncIterator[TritonReranker]:
        """Connects by itself; a Triton that is down at the start is down like any other time.

        Raises:
            SettingsInvalid: the tokenizer file is none.
        """
        tokenizer = await asyncio.to_thread(PairTokenizer, tokenizer_file)
        async with open_channel(
            address, telemetry=telemetry, keepalive_ms=KEEPALIVE_MS, relays_caller=False
        ) as channel:
            channel.get_state(try_to_connect=True)  # the first question should not wait for connecting
            yield cls(channel, tokenizer, model)

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    async def rerank(self, query: str, passages: Sequence[Passage], *, budget: Budget) -> list[Passage]:
        """See retriever.ports.Reranker."""
        budget.check("rerank")
        try:
            async with asyncio.timeout(budget.remaining_s()):
                pairs = await asyncio.to_thread(self._tokenizer.pairs, query, passages)
                return reordered(passages, await self._judged(pairs, budget))
        except TimeoutError as exc:
            raise DeadlineExceeded("rerank: the deadline passed before the passages were judged") from exc

    async def _judged(self, pairs: Sequence[TokenPair], budget: Budget) -> list[float]:
        batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._batch(batch, budget)) for batch in batches]
        except ExceptionGroup as failures:  # the first to fail ended the others
            raise failures.exceptions[0] from failures
        return [logit for task in asked for logit in task.result()]

    async def _batch(self, pairs: Sequence[TokenPair], budget: Budget) -> list[float]:
        budget.check("rerank")
        try:
            reply = await self._stub.ModelInfer(self._request(pairs), timeout=budget.remaining_s())
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineExceeded("rerank: the deadline passed before the passages were judged") from exc
            raise BackendUnavailable("rerank: the model server cannot be reached or refuses the model") from exc
        return _logits(reply, len(pairs))

    def _request(self, pairs: Sequence[TokenPair]) -> pb.ModelInferRequest:
        tensors = _tensors(pairs)
        return pb.ModelInferRequest(
            model_name=self._model.name,
            model_version=self._model.version,
            inputs=[
                pb.ModelInferRequest.InferInputTensor(name=name, datatype="INT64", shape=array.shape)
                for name, array in tensors.items()
            ],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="logits")],
            raw_input_contents=[array.tobytes() for array in tensors.values()],
        )


def _tensors(pairs: Sequence[TokenPair]) -> Mapping[str, NDArray[np.int64]]:
    longest = max(len(pair.ids) for pair in pairs)
    length = next(length for length in LENGTHS if length >= longest)
    ids, mask, types = (np.zeros((len(pairs), length), np.int64) for _ in range(3))
    for row, pair in enumerate(pairs):
        ids[row, : len(pair.ids)] = pair.ids
        mask[row, : len(pair.ids)] = 1
        types[row, : len(pair.ids)] = pair.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _logits(reply: pb.ModelInferResponse, count: int) -> list[float]:
    """One finite number per pair; whatever else a model of that name answers is no judgement."""
    described = [(each.name, each.datatype, tuple(each.shape)) for each in reply.outputs]
    if described != [("logits", "FP32", (count, 1))] or len(reply.raw_output_contents) != 1:
        raise BackendUnavailable("rerank: the model server's model is no reranker")
    logits = np.frombuffer(reply.raw_output_contents[0], np.float32)
    if logits.shape != (count,) or not np.isfinite(logits).all():
        raise BackendUnavailable("rerank: the model server's model makes no finite numbers")
    values: list[float] = logits.tolist()
    return values
