"""What every Embedder promises (embedding.ports.Embedder). Subclass it and give it an `embedder`."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, InvalidRequest
from embedding.manifest import MAX_TOKENS
from embedding.ports import Embedder

TEXTS = [
    "How do I reset my password?",
    "I forgot my login credentials, what now?",
    "Istio retries a request on another host when the first one refuses the connection.",
    "Die Stra\u00dfe zum Caf\u00e9 ist gesperrt, na\u00efve Fu\u00dfg\u00e4nger fluchen.",
    "x",
    "A snapshot is one record, changed only by compare-and-swap. " * 12,
    "\u6771\u4eac \u662f \u9996\u90fd. \U0001f680 price: 1,234.50 \u20ac on 2024-02-29",
]


def budget() -> Budget:
    return Budget.of(30.0)


class EmbedderSuite:
    async def test_every_vector_is_a_unit_vector(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS, budget=budget())
        assert vectors.shape == (len(TEXTS), embedder.dim)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)

    async def test_a_vector_does_not_depend_on_the_texts_beside_it(self, embedder: Embedder) -> None:
        together = await embedder.embed(TEXTS, budget=budget())
        backwards = (await embedder.embed(TEXTS[::-1], budget=budget()))[::-1]
        alone = np.concatenate([await embedder.embed([text], budget=budget()) for text in TEXTS])
        np.testing.assert_allclose(together, backwards, atol=1e-5)
        np.testing.assert_allclose(together, alone, atol=1e-5)

    async def test_calls_at_once_do_not_mix(self, embedder: Embedder) -> None:
        alone = [await embedder.embed([text], budget=budget()) for text in TEXTS]
        at_once = await asyncio.gather(*(embedder.embed([text], budget=budget()) for text in TEXTS))
        np.testing.assert_allclose(np.stack(at_once), np.stack(alone), atol=1e-5)

    async def test_a_paraphrase_is_nearer_than_another_subject(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS[:3], budget=budget())
        assert vectors[0] @ vectors[1] > 0.5
        assert vectors[0] @ vectors[2] < 0.2

    async def test_a_text_beyond_the_window_is_cut_there(self, embedder: Embedder) -> None:
        window = "word " * (MAX_TOKENS - 2)
        [whole, longer] = await embedder.embed([window, window + "tail " * 1000], budget=budget())
        np.testing.assert_allclose(whole, longer, atol=1e-5)

    async def test_many_texts_come_back_in_their_order(self, embedder: Embedder) -> None:
        texts = [TEXTS[at % len(TEXTS)] for at in range(80)]
        vectors = await embedder.embed(texts, budget=budget())
        once = await embedder.embed(TEXTS, budget=budget())
        np.testing.assert_allclose(vectors, np.stack([once[at % len(TEXTS)] for at in range(80)]), atol=1e-5)

    async def test_no_texts_are_no_vectors(self, embedder: Embedder) -> None:
        assert (await embedder.embed([], budget=budget())).shape == (0, embedder.dim)

    @pytest.mark.parametrize("blank", ["", " \n\t"])
    async def test_a_blank_text_is_refused(self, embedder: Embedder, blank: str) -> None:
        with pytest.raises(InvalidRequest):
            await embedder.embed(["something", blank], budget=budget())

    async def test_a_spent_budget_is_a_deadline(self, embedder: Embedder) -> None:
        with pytest.raises(DeadlineExceeded):
            await embedder.embed(TEXTS, budget=Budget.of(0))

    async def test_a_budget_too_short_for_the_work_is_a_deadline(self, embedder: Embedder) -> None:
        with pytest.raises(DeadlineExceeded):
            await embedder.embed(TEXTS[5:6] * 2_000, budget=Budget.of(0.3))

    def test_its_fingerprint_is_its_own(self, embedder: Embedder, other_fingerprints: set[str]) -> None:
        assert embedder.fingerprint
        assert embedder.fingerprint not in other_fingerprints
