from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, EmbedderUnavailable, InvalidRequest
from embedding.manifest import DIM, GRAPH_FILE, MAX_TOKENS, ModelFiles, Precision, SourceFiles, fingerprint
from embedding.onnx import OnnxEmbedder
from tests.unit.embedding import reference

TEXTS = [
    "How do I reset my password?",
    "I forgot my login credentials, what now?",
    "Istio retries a request on another host when the first one refuses the connection.",
    "Die Straße zum Café ist gesperrt, naïve Fußgänger fluchen.",
    "x",
    "A snapshot is one record, changed only by compare-and-swap. " * 12,
    "東京 is 首都. 🚀 price: 1,234.50 € on 2024-02-29",
]


def budget() -> Budget:
    return Budget.of(30.0)


async def test_fp32_is_bert_as_the_numpy_reference_computes_it(fp32):
    weights = load_file(SourceFiles.locate().weights)
    expected = np.stack([reference.embed(weights, fp32.tokenizer.ids(text)) for text in TEXTS])

    vectors = await fp32.embed(TEXTS, budget=budget())

    assert (vectors * expected).sum(axis=1).min() > 0.9999


async def test_int8_stays_close_to_fp32(int8, fp32):
    quantised, exact = await int8.embed(TEXTS, budget=budget()), await fp32.embed(TEXTS, budget=budget())

    assert (quantised * exact).sum(axis=1).mean() > 0.98


async def test_a_paraphrase_is_nearer_than_another_subject(int8):
    vectors = await int8.embed(TEXTS[:3], budget=budget())

    assert vectors[0] @ vectors[1] > 0.5
    assert vectors[0] @ vectors[2] < 0.2


async def test_every_vector_is_a_unit_vector(int8):
    vectors = await int8.embed(TEXTS, budget=budget())

    assert vectors.shape == (len(TEXTS), DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("precision", list(Precision))
async def test_a_vector_does_not_depend_on_the_texts_beside_it(precision, int8, fp32):
    embedder = {Precision.INT8: int8, Precision.FP32: fp32}[precision]
    together = await embedder.embed(TEXTS, budget=budget())
    backwards = (await embedder.embed(TEXTS[::-1], budget=budget()))[::-1]
    alone = np.concatenate([await embedder.embed([text], budget=budget()) for text in TEXTS])

    np.testing.assert_allclose(together, backwards, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


async def test_a_text_beyond_the_window_is_cut_there(int8):
    window = "word " * (MAX_TOKENS - 2)

    [whole, longer] = await int8.embed([window, window + "tail " * 1000], budget=budget())

    np.testing.assert_allclose(whole, longer, atol=1e-5)


async def test_a_million_characters_take_no_longer_than_a_window(int8):
    start = time.monotonic()

    await int8.embed(["a b " * 250_000], budget=budget())

    assert time.monotonic() - start < 1.0


async def test_no_texts_give_no_rows(int8):
    assert (await int8.embed([], budget=budget())).shape == (0, DIM)


@pytest.mark.parametrize("blank", ["", "  \n\t"])
async def test_a_blank_text_is_refused(int8, blank):
    with pytest.raises(InvalidRequest):
        await int8.embed(["fine", blank], budget=budget())


async def test_a_spent_budget_is_a_deadline(int8):
    with pytest.raises(DeadlineExceeded):
        await int8.embed(TEXTS, budget=Budget.of(0.0))


async def test_a_budget_that_ends_on_the_way_is_a_deadline(int8):
    with pytest.raises(DeadlineExceeded):
        await int8.embed(TEXTS * 100, budget=Budget.of(0.02))


async def test_encoding_happens_off_the_event_loop(int8, monkeypatch):
    threads = set()
    encode = int8._encode

    def watched(text):
        threads.add(threading.current_thread())
        return encode(text)

    monkeypatch.setattr(int8, "_encode", watched)

    await int8.embed(TEXTS, budget=budget())

    assert threading.current_thread() not in threads
    assert len(threads) <= 3  # two lanes and the query's thread


async def test_a_query_does_not_wait_for_a_bulk_call(int8):
    bulk = asyncio.create_task(int8.embed(TEXTS * 60, budget=budget()))
    await asyncio.sleep(0)  # lets the bulk call take its lanes

    await int8.embed(["query"], budget=budget())

    assert not bulk.done()
    await bulk


async def test_concurrent_calls_give_the_same_vectors(int8):
    alone = await int8.embed(TEXTS, budget=budget())

    calls = await asyncio.gather(*(int8.embed(TEXTS, budget=budget()) for _ in range(8)))

    for vectors in calls:
        np.testing.assert_allclose(vectors, alone, atol=1e-5)


async def test_a_damaged_graph_is_not_loaded(int8_files, tmp_path):
    damaged = ModelFiles(tmp_path)
    for file in int8_files.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / GRAPH_FILE).open("r+b") as graph:
        graph.seek(1_000_000)
        graph.write(b"\0\1\2\3")

    with pytest.raises(EmbedderUnavailable, match=r"model\.onnx is damaged"):
        async with OnnxEmbedder.opened(damaged, Precision.INT8):
            pass


async def test_the_fingerprint_tells_precisions_apart(int8, fp32):
    assert int8.fingerprint == fingerprint(Precision.INT8) != fp32.fingerprint
    assert int8.fingerprint.startswith("minilm-l6-v2/int8-dyn-perchannel-rr/")
