"""Embeds on Triton: the fp32 graph, many texts a request, tokens made here.

Rule 1: fp32 only. In a batch an int8 vector depends on its neighbours; an fp32 one differs by less than 1e-5.
Rule 2: a fingerprint of its own: another engine's arithmetic may differ in the last digits, and vectors of the two are
        not mixed in one collection.
Rule 3: lengths are padded to a few sizes: Triton's dynamic batching joins only requests of equal shape.
Rule 4: no word of the server's errors, of a text or of the address leaves in a message.

Does not: retry, truncate on the server, or load the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from chassis.budget import Budget
from chassis.channel import open_channel
from chassis.errors import DeadlineExceeded, EmbedderUnavailable, InvalidRequest
from chassis.telemetry import Telemetry
from embedding.manifest import DIM, MAX_TOKENS, Precision, SourceFiles, fingerprint
from embedding.ports import FloatArray
from embedding.tokenizer import WordPieceTokenizer

__all__ = ["TritonEmbedder"]

MODEL = "minilm"
VERSION = "1"  # pinned: another version is another fingerprint
BATCH = 32  # the model's max_batch_size in deploy/triton/embedding
SENDERS = 2  # requests of one call at once: while Triton computes one, the next is there
LENGTHS = (32, 64, 128, MAX_TOKENS)  # a query fits the first, a chunk the last two
KEEPALIVE_MS = 310_000  # Triton allows a ping every 300 s unless told otherwise, and hangs up on who asks more often


class TritonEmbedder:
    """An Embedder over `ModelInfer`; `opened` makes one.

    Args:
        channel: To Triton; never closed here.
        tokenizer: Of the model that Triton serves.
        served_as: The model's name on Triton.
    """

    def __init__(self, channel: grpc.aio.Channel, tokenizer: WordPieceTokenizer, *, served_as: str = MODEL) -> None:
        self._stub = rpc.GRPCInferenceServiceStub(channel)
        self._tokenizer = tokenizer
        self._served_as = served_as

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, address: str, *, telemetry: Telemetry | None = None, proxy: str = ""
    ) -> AsyncIterator[TritonEmbedder]:
        """Connects by itself; a Triton that is down at the start is down like any other time.

        Raises:
            EmbedderUnavailable: the tokenizer is not installed, or is not the one the fingerprint names.
        """
        source = SourceFiles.locate()
        await asyncio.to_thread(source.verify)
        tokenizer = await asyncio.to_thread(WordPieceTokenizer, source.tokenizer, max_tokens=MAX_TOKENS)
        async with open_channel(
            address, telemetry=telemetry, keepalive_ms=KEEPALIVE_MS, relays_caller=False, proxy=proxy
        ) as channel:
            yield cls(channel, tokenizer)

    @property
    def fingerprint(self) -> str:
        return f"{fingerprint(Precision.FP32)}/triton"

    @property
    def dim(self) -> int:
        return DIM

    @property
    def tokenizer(self) -> WordPieceTokenizer:
        """The model's own, for the chunker."""
        return self._tokenizer

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        """Encode texts as unit vectors, in input order; see embedding.ports.Embedder."""
        if any(not text.strip() for text in texts):
            raise InvalidRequest.field("texts", "every text must hold something other than blanks")
        budget.check("embed")
        tokens = await asyncio.to_thread(lambda: [self._tokenizer.ids(text) for text in texts])
        vectors = np.empty((len(texts), DIM), np.float32)
        waiting = _batches([len(each) for each in tokens])

        async def send() -> None:
            for places in waiting:  # shared by all senders: each takes the next one
                vectors[places] = await self._encode([tokens[place] for place in places], budget)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(SENDERS, len(tokens))):
                    group.create_task(send())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return vectors

    async def _encode(self, tokens: Sequence[Sequence[int]], budget: Budget) -> FloatArray:
        budget.check("embed")
        try:
            reply = await self._stub.ModelInfer(self._request(tokens), timeout=budget.remaining_s())
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineExceeded("embed: the deadline passed before all texts were encoded") from exc
            raise EmbedderUnavailable("embed: the model server cannot be reached or refuses the model") from exc
        return _vectors(reply, len(tokens))

    def _request(self, tokens: Sequence[Sequence[int]]) -> pb.ModelInferRequest:
        longest = max(map(len, tokens))
        length = next(length for length in LENGTHS if length >= longest)
        ids = np.zeros((len(tokens), length), np.int64)
        mask = np.zeros_like(ids)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        named = {"input_ids": ids, "attention_mask": mask}
        return pb.ModelInferRequest(
            model_name=self._served_as,
            model_version=VERSION,
            inputs=[_described(name, array) for name, array in named.items()],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="embedding")],
            raw_input_contents=[array.tobytes() for array in named.values()],
        )


def _described(name: str, array: NDArray[np.int64]) -> pb.ModelInferRequest.InferInputTensor:
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype="INT64", shape=array.shape)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts to encode together, those of similar length beside each other: padding is work too."""
    places = sorted(range(len(lengths)), key=lengths.__getitem__)
    return (places[start : start + BATCH] for start in range(0, len(places), BATCH))


def _vectors(reply: pb.ModelInferResponse, count: int) -> FloatArray:
    """The rows of a reply; another model under the same name would poison an index, so that they are checked."""
    described = [(each.name, each.datatype, tuple(each.shape)) for each in reply.outputs]
    if described != [("embedding", "FP32", (count, DIM))] or len(reply.raw_output_contents) != 1:
        raise EmbedderUnavailable("embed: the model server's model is not this one")
    vectors: FloatArray = np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(count, DIM)
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3):  # false for NaN as well
        raise EmbedderUnavailable("embed: the model server's model makes no unit vectors")
    return vectors
