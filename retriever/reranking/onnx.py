"""Reranks in this process with ONNX Runtime, off the event loop; what there is without a Triton.

Rule 1: one pair per run: the int8 graph's activations are scaled per run, so a neighbour would change a logit.
Rule 2: a run cannot be stopped. When the time is over no further pair is taken, and what still runs ends unheard,
        within some 15 ms.

Does not: use a GPU, or answer in parts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import onnxruntime as ort

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded, EmbedderUnavailable
from embedding.manifest import Graph, ModelFiles, Precision, fingerprint
from embedding.onnx import ENGINE_ERRORS
from retriever.reranking.pairs import PairTokenizer, TokenPair, reordered
from retriever.types import Passage

__all__ = ["OnnxReranker"]

MAX_LANES = 4  # pairs judged at once: a retrieval has 250 ms, and other retrievals want processors too


class OnnxReranker:
    """A Reranker over a session of its own; `opened` makes one.

    Args:
        session: Of a graph that embedding.late_interaction built, or any with its tensors.
        tokenizer: Of the same model.
        precision: That of the graph, for the fingerprint.
    """

    def __init__(self, session: ort.InferenceSession, tokenizer: PairTokenizer, precision: Precision) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._fingerprint = fingerprint(precision, Graph.LATE_INTERACTION)
        self._lanes = min(MAX_LANES, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(self._lanes, thread_name_prefix="rerank")

    @classmethod
    @asynccontextmanager
    async def opened(cls, files: ModelFiles, precision: Precision) -> AsyncIterator[OnnxReranker]:
        """Verify and load a built model; its threads end with the context.

        Args:
            files: From embedding.models.ensure_model, of Graph.LATE_INTERACTION.
        Raises:
            EmbedderUnavailable: the files are damaged or cannot be loaded.
        """
        session, tokenizer = await asyncio.to_thread(_load, files)
        reranker = cls(session, tokenizer, precision)
        try:
            yield reranker
        finally:
            reranker.close()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def close(self) -> None:
        """End the threads; waits for the pairs being judged."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def rerank(self, query: str, passages: Sequence[Passage], *, budget: Budget) -> list[Passage]:
        """See retriever.ports.Reranker."""
        budget.check("rerank")
        try:
            async with asyncio.timeout(budget.remaining_s()):
                pairs = await asyncio.to_thread(self._tokenizer.pairs, query, passages)
                return reordered(passages, await self._judged(pairs))
        except TimeoutError as exc:
            raise DeadlineExceeded("rerank: the deadline passed before the passages were judged") from exc

    async def _judged(self, pairs: Sequence[TokenPair]) -> list[float]:
        logits = [0.0] * len(pairs)
        waiting = iter(range(len(pairs)))  # shared: each lane takes the next pair when it is done with one
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._lanes, len(pairs))):
                    group.create_task(self._judge_from(waiting, pairs, logits))
        except ExceptionGroup as failures:  # the first lane to fail ended the others
            raise failures.exceptions[0] from failures
        return logits

    async def _judge_from(self, waiting: Iterator[int], pairs: Sequence[TokenPair], logits: list[float]) -> None:
        loop = asyncio.get_running_loop()
        for place in waiting:
            logits[place] = await loop.run_in_executor(self._threads, self._judge, pairs[place])

    def _judge(self, pair: TokenPair) -> float:
        ids = np.array([pair.ids], np.int64)
        types = np.array([pair.types], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        try:
            [logits] = self._session.run(["logits"], given)
        except ENGINE_ERRORS as exc:
            raise BackendUnavailable("rerank: the model failed on a pair") from exc
        return float(logits[0, 0])


def _load(files: ModelFiles) -> tuple[ort.InferenceSession, PairTokenizer]:
    files.verify()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # lanes are the parallelism
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(files.graph), options, providers=["CPUExecutionProvider"])
    except ENGINE_ERRORS as exc:
        raise EmbedderUnavailable("the reranking model cannot be loaded: build it again") from exc
    return session, PairTokenizer(files.tokenizer)
