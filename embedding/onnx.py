"""Embeds in this process with ONNX Runtime, off the event loop.

Rule 1: one text per run. In a batch an int8 vector depends on its neighbours (cos .988 with itself); on mixed
lengths one by one is faster than padded (80/s against 41/s on 2 cores).
Rule 2: a bulk call never takes every thread, so that a query does not wait behind a document.

Does not: batch, use a GPU, or split a text that is longer than the model's window.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, EmbedderUnavailable, InvalidRequest
from embedding.manifest import DIM, MAX_TOKENS, ModelFiles, Precision, fingerprint
from embedding.ports import FloatArray
from embedding.tokenizer import WordPieceTokenizer

# ONNX Runtime's exceptions share no base but Exception; these are the ones that loading and running can raise.
ENGINE_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
)
MAX_LANES = 8  # beyond that a replica should be added instead: each lane's run holds 2-5 MiB of activations


class OnnxEmbedder:
    """The Embedder of the embedded mode; `opened` makes one.

    Args:
        session: Of a graph that embedding.graph built.
        tokenizer: Of the same model.
        precision: That of the graph, for the fingerprint.
        lanes: Texts that a bulk call encodes at once.
    """

    def __init__(
        self, session: ort.InferenceSession, tokenizer: WordPieceTokenizer, *, precision: Precision, lanes: int
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._lanes = lanes
        self._fingerprint = fingerprint(precision)
        # One more than a bulk call uses: the query's.
        self._threads = ThreadPoolExecutor(lanes + 1, thread_name_prefix="embed")

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, files: ModelFiles, precision: Precision, *, lanes: int | None = None
    ) -> AsyncIterator[OnnxEmbedder]:
        """Verify and load a built model; its threads end with the context.

        Args:
            files: From embedding.models.ensure_model.
            precision: What the files were built as.
            lanes: Texts that a bulk call encodes at once; None takes the processors, at most MAX_LANES.
        Raises:
            EmbedderUnavailable: the files are damaged or cannot be loaded.
        """
        session, tokenizer = await asyncio.to_thread(_load, files)
        count = lanes or min(MAX_LANES, os.cpu_count() or 1)
        embedder = cls(session, tokenizer, precision=precision, lanes=count)
        try:
            yield embedder
        finally:
            embedder.close()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dim(self) -> int:
        return DIM

    @property
    def tokenizer(self) -> WordPieceTokenizer:
        """The model's own, for the chunker."""
        return self._tokenizer

    def close(self) -> None:
        """End the threads; waits for the texts being encoded, some 20 ms at most."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        """Encode texts as unit vectors, in input order; see embedding.ports.Embedder."""
        if any(not text.strip() for text in texts):
            raise InvalidRequest.field("texts", "every text must hold something other than blanks")
        budget.check("embed")
        vectors = np.empty((len(texts), DIM), np.float32)
        waiting = iter(range(len(texts)))  # shared: each lane takes the next text when it is done with one
        try:
            async with asyncio.timeout(budget.remaining_s()), asyncio.TaskGroup() as group:
                for _ in range(min(self._lanes, len(texts))):
                    group.create_task(self._encode_from(waiting, texts, vectors))
        except TimeoutError as exc:
            raise DeadlineExceeded("embed: the deadline passed before all texts were encoded") from exc
        except ExceptionGroup as failures:  # the first lane to fail ended the others
            raise failures.exceptions[0] from failures
        return vectors

    async def _encode_from(self, waiting: Iterator[int], texts: Sequence[str], vectors: FloatArray) -> None:
        loop = asyncio.get_running_loop()
        for index in waiting:
            vectors[index] = await loop.run_in_executor(self._threads, self._encode, texts[index])

    def _encode(self, text: str) -> FloatArray:
        ids = np.array([self._tokenizer.ids(text)], np.int64)
        try:
            [rows] = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        except ENGINE_ERRORS as exc:
            raise EmbedderUnavailable("embed: the model failed on a text") from exc
        vector: FloatArray = rows[0]
        return vector


def _load(files: ModelFiles) -> tuple[ort.InferenceSession, WordPieceTokenizer]:
    files.verify()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # lanes are the parallelism; a spinning pool per session would fight them
    options.inter_op_num_threads = 1
    # The default, against what one reads of it: a window of 256 bounds what it keeps, and without it the threads'
    # malloc arenas grow instead (240 passages of XQuAD: 150 MiB with, 204 MiB without, at the same speed).
    options.enable_cpu_mem_arena = True
    try:
        session = ort.InferenceSession(str(files.graph), options, providers=["CPUExecutionProvider"])
    except ENGINE_ERRORS as exc:
        raise EmbedderUnavailable("the embedding model cannot be loaded: build it again") from exc
    return session, WordPieceTokenizer(files.tokenizer, max_tokens=MAX_TOKENS)
