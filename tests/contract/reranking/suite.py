"""What every Reranker promises (retriever.ports.Reranker). Subclass it and give it a `reranker`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded
from retriever.ports import Reranker
from retriever.types import Chunk, Passage
from tests.unit.retriever.pipeline_fakes import make_hit

ENOUGH_S = 60.0  # what is found, not how fast
LEASE = "The lease lasts 30 seconds. Its expiry is judged by watching the record on a monotonic clock."
QUESTION = "How many seconds does the lease last?"
LONG = "A snapshot is one record, changed only by compare-and-swap. " * 60  # longer than the window
TEXTS = [
    "Cats sleep a lot, and nobody knows why.",
    LEASE,
    "Istio retries a request on another host when the first one refuses the connection.",
    "\u6771\u4eac \u662f \u9996\u90fd. \U0001f680 price: 1,234.50 \u20ac on 2024-02-29",
    "A snapshot is one record, changed only by compare-and-swap. " * 6,
    "x",
]


def passages(texts) -> list[Passage]:
    return [_passage(place, text) for place, text in enumerate(texts)]


def _passage(place: int, text: str) -> Passage:
    hit = make_hit(f"d{place}")
    chunk: Chunk = replace(hit.chunk, chunk_id=f"c{place}", text=text, embed_text=text)
    return Passage(chunk=chunk, document=hit.document, score=1.0 - place / 100)


def budget() -> Budget:
    return Budget.of(ENOUGH_S)


async def logits(reranker: Reranker, question: str, texts) -> dict[str, float]:
    """What was said of each text."""
    ranked = await reranker.rerank(question, passages(texts), budget=budget())
    return {passage.chunk.text: passage.rerank.score for passage in ranked if passage.rerank}


class RerankerSuite:
    async def test_the_passage_that_answers_comes_first(self, reranker: Reranker) -> None:
        ranked = await reranker.rerank(QUESTION, passages(TEXTS), budget=budget())
        assert ranked[0].chunk.text == LEASE

    async def test_the_same_passages_come_back_with_nothing_but_a_judgement_added(self, reranker: Reranker) -> None:
        given = passages(TEXTS)
        ranked = await reranker.rerank(QUESTION, given, budget=budget())
        bare = [replace(passage, rerank=None) for passage in ranked]
        assert sorted(bare, key=lambda passage: passage.chunk.chunk_id) == given

    async def test_ranks_count_from_one_and_follow_the_logits(self, reranker: Reranker) -> None:
        judged = [passage.rerank for passage in await reranker.rerank(QUESTION, passages(TEXTS), budget=budget())]
        assert [each.rank for each in judged if each] == list(range(1, len(TEXTS) + 1))
        scores = [each.score for each in judged if each]
        assert scores == sorted(scores, reverse=True)

    async def test_equal_passages_keep_their_order(self, reranker: Reranker) -> None:
        ranked = await reranker.rerank(QUESTION, passages([LEASE] * 4), budget=budget())
        assert [passage.chunk.chunk_id for passage in ranked] == ["c0", "c1", "c2", "c3"]

    async def test_a_judgement_does_not_depend_on_the_passages_beside_it(self, reranker: Reranker) -> None:
        together = await logits(reranker, QUESTION, TEXTS)
        for text in TEXTS:
            alone = await logits(reranker, QUESTION, [text])
            assert alone[text] == pytest.approx(together[text], abs=1e-4)

    async def test_calls_at_once_do_not_mix(self, reranker: Reranker) -> None:
        questions = [QUESTION, "Why do cats sleep?", "Who retries a request?"]
        apart = [await logits(reranker, question, TEXTS) for question in questions]
        at_once = await asyncio.gather(*(logits(reranker, question, TEXTS) for question in questions))
        for one, other in zip(apart, at_once, strict=True):
            assert one == pytest.approx(other, abs=1e-4)

    async def test_more_passages_than_one_batch_are_all_judged(self, reranker: Reranker) -> None:
        texts = [f"Sentence number {place} says nothing." for place in range(40)]
        ranked = await reranker.rerank(QUESTION, passages([*texts, LEASE]), budget=budget())
        assert ranked[0].chunk.text == LEASE
        assert len({passage.chunk.chunk_id for passage in ranked}) == 41

    @pytest.mark.parametrize("question", ["?", "\u4e00\u4e8c\u4e09", "word " * 3_000, " \n", "[SEP] [CLS]"])
    async def test_any_question_can_be_asked(self, reranker: Reranker, question: str) -> None:
        ranked = await reranker.rerank(question, passages(TEXTS), budget=budget())
        assert len(ranked) == len(TEXTS)

    async def test_a_long_question_leaves_room_for_its_passages(self, reranker: Reranker) -> None:
        ranked = await reranker.rerank(f"{QUESTION} {'Please. ' * 2_000}", passages(TEXTS), budget=budget())
        assert ranked[0].chunk.text == LEASE

    async def test_a_passage_is_judged_as_far_as_the_window_goes(self, reranker: Reranker) -> None:
        judged = await logits(reranker, QUESTION, [LONG, LONG + LEASE])
        assert judged[LONG] == pytest.approx(judged[LONG + LEASE], abs=1e-4)

    async def test_a_spent_budget_is_a_deadline(self, reranker: Reranker) -> None:
        with pytest.raises(DeadlineExceeded):
            await reranker.rerank(QUESTION, passages(TEXTS), budget=Budget.of(0))

    async def test_a_budget_too_short_for_the_work_is_a_deadline(self, reranker: Reranker) -> None:
        with pytest.raises(DeadlineExceeded):
            await reranker.rerank(QUESTION, passages([LONG] * 90), budget=Budget.of(0.05))

    def test_its_fingerprint_is_its_own(self, reranker: Reranker, other_fingerprints: set[str]) -> None:
        assert reranker.fingerprint
        assert reranker.fingerprint not in other_fingerprints
