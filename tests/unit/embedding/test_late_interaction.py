"""The late interaction graph against the formula in NumPy, question and passage encoded apart."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from embedding.manifest import (
    LATE_INTERACTION_RECIPE,
    Graph,
    ModelFiles,
    Precision,
    SourceFiles,
    fingerprint,
    sha256,
)
from embedding.models import find_model
from tests.unit.embedding import reference

# See test_build.BUILT_SHA256: raise LATE_INTERACTION_RECIPE when this differs, then write the new sum here.
BUILT_SHA256 = {1: "34f779b3cfb68be4c0cd5d3141f35fe956ffc0d1d7a399e2b17639d9b3a968ba"}
# Packed into one sequence, the passage sees the question's [CLS], which has seen the question: a last-digit matter.
APART = 5e-3
QUESTION = "How many seconds does the lease last?"
PASSAGES = ["The lease lasts 30 seconds.", "Cats sleep a lot.", "Words, words. " * 30, "x"]


def built(precision: Precision) -> ModelFiles:
    command = [sys.executable, "-m", "embedding.build", "--precision", precision.value]
    subprocess.run([*command, "--graph", Graph.LATE_INTERACTION.value], check=True)
    files = find_model(precision, Graph.LATE_INTERACTION)
    assert files is not None
    return files


@pytest.fixture(scope="module")
def session():
    return onnxruntime.InferenceSession(built(Precision.FP32).graph)


@pytest.fixture(scope="module")
def tokenizer():
    made = Tokenizer.from_file(str(SourceFiles.locate().tokenizer))
    made.no_truncation()
    made.no_padding()
    return made


def judged(session, rows) -> list[float]:
    """Pairs as (ids, types), padded to the longest."""
    length = max(len(ids) for ids, _ in rows)
    ids, mask, types = (np.zeros((len(rows), length), np.int64) for _ in range(3))
    for row, (own_ids, own_types) in enumerate(rows):
        ids[row, : len(own_ids)], types[row, : len(own_ids)] = own_ids, own_types
        mask[row, : len(own_ids)] = 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    [logits] = session.run(["logits"], given)
    assert logits.shape == (len(rows), 1)
    return [float(logit) for logit in logits[:, 0]]


def pair(tokenizer, question, passage):
    encoded = tokenizer.encode(question, passage)
    return encoded.ids, encoded.type_ids


@pytest.mark.parametrize("passage", PASSAGES)
def test_a_pair_scores_as_the_two_encoded_apart(session, tokenizer, passage):
    weights = load_file(SourceFiles.locate().weights)
    expected = reference.max_sim(weights, tokenizer.encode(QUESTION).ids, tokenizer.encode(passage).ids)
    [logit] = judged(session, [pair(tokenizer, QUESTION, passage)])
    assert logit == pytest.approx(expected, abs=APART)


def test_padding_and_neighbours_change_nothing(session, tokenizer):
    rows = [pair(tokenizer, QUESTION, passage) for passage in PASSAGES]
    together = judged(session, rows)
    assert together == pytest.approx([judged(session, [row])[0] for row in rows], abs=1e-5)


def test_a_question_without_tokens_scores_zero(session, tokenizer):
    assert judged(session, [pair(tokenizer, " ", PASSAGES[0])]) == [0.0]


def test_the_built_graph_is_the_one_its_recipe_number_names():
    assert sha256(built(Precision.INT8).graph) == BUILT_SHA256[LATE_INTERACTION_RECIPE]


def test_its_fingerprint_is_no_embedders():
    both = [fingerprint(precision, graph) for precision in Precision for graph in Graph]
    assert len(set(both)) == len(both)
