"""How well a passage fits a question, by late interaction over MiniLM's token vectors, as an ONNX graph.

    score = mean over the question's tokens of the largest cosine with any of the passage's tokens

which is ColBERT's MaxSim (Khattab and Zaharia 2020, section 3.3) as a mean instead of a sum, so that long questions do
not score higher. ColBERT trains its encoder for it; these weights were trained for the mean of their tokens
(embedding.graph) and for nothing else. **This is no cross-encoder**: question and passage are encoded apart, and no
weight was learned for judging one against the other. What it is worth is measured (docs/retrieval.md), not assumed.

It has a cross-encoder's tensors, so that one adapter serves both: input_ids, attention_mask and token_type_ids of

    [CLS] question [SEP] passage [SEP]

to `logits`, (batch, 1). Inside, a token sees only its own part and the leading [CLS], and the passage's positions begin
anew behind it: either part is encoded as if it stood alone.

int8 as in embedding.graph, hence one pair per run. Runs only in embedding.build.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedding.graph import MASKED, MODEL_INPUTS, GraphDraft, Weights, finished, token_vectors
from embedding.manifest import Precision
from embedding.ports import FloatArray

PAIR_INPUTS = (*MODEL_INPUTS, "token_type_ids")  # type 0: [CLS] question [SEP]; type 1: passage [SEP]; padding: 0
CLS, SEP = 101, 102  # of the tokenizer's vocabulary


def build_model(weights: Weights, precision: Precision) -> onnx.ModelProto:
    """The graph: int64 (batch, tokens) inputs to `logits`, float32 (batch, 1), in -1..1."""
    draft = GraphDraft(precision)
    _max_sim(draft, token_vectors(draft, weights, _own_positions, _own_part))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    return finished(draft, "MiniLM-L6-v2 late interaction", PAIR_INPUTS, output)


def _own_positions(draft: GraphDraft, table: FloatArray) -> str:
    """Question tokens in order; the passage's first stands behind the [CLS], at 1."""
    one = draft.ints(1)
    of_question = draft.op("Mul", "attention_mask", draft.op("Sub", one, "token_type_ids"))
    start = draft.op("Sub", draft.op("ReduceSum", of_question, one, keepdims=1), one)
    places = draft.op("Sub", draft.op("CumSum", draft.op("Add", _zeros(draft), one), one), one)
    own = draft.op("Sub", places, draft.op("Mul", "token_type_ids", start))
    return draft.op("Gather", draft.constant(table), own)


def _zeros(draft: GraphDraft) -> str:
    return draft.op("Sub", "input_ids", "input_ids")


def _own_part(draft: GraphDraft) -> str:
    """0 where a token may look at another, MASKED elsewhere: (batch, 1, query, key)."""
    rows, columns = (draft.op("Unsqueeze", "token_type_ids", draft.ints(axis)) for axis in (2, 1))
    leading = draft.op("Unsqueeze", draft.op("Equal", "input_ids", draft.ints(CLS)), draft.ints(1))
    stands = draft.op("Unsqueeze", draft.op("Cast", "attention_mask", to=TensorProto.BOOL), draft.ints(1))
    sees = draft.op("And", draft.op("Or", draft.op("Equal", rows, columns), leading), stands)
    zero, masked = (draft.constant(np.array([value], np.float32)) for value in (0.0, MASKED))
    return draft.op("Unsqueeze", draft.op("Where", sees, zero, masked), draft.ints(1))


def _max_sim(draft: GraphDraft, x: str) -> None:
    unit = draft.op("Div", x, draft.op("ReduceL2", x, draft.ints(2), keepdims=1))
    cosines = draft.op("MatMul", unit, draft.op("Transpose", unit, perm=[0, 2, 1]))
    of_passage = draft.op("Cast", draft.op("Mul", "attention_mask", "token_type_ids"), to=TensorProto.BOOL)
    masked = draft.constant(np.array([MASKED], np.float32))
    theirs = draft.op("Where", draft.op("Unsqueeze", of_passage, draft.ints(1)), cosines, masked)
    best = draft.op("ReduceMax", theirs, draft.ints(2), keepdims=0)
    asked = _asked(draft)
    total = draft.op("ReduceSum", draft.op("Mul", best, asked), draft.ints(1), keepdims=1)
    draft.nodes.append(helper.make_node("Div", [total, _count(draft, asked)], ["logits"]))


def _asked(draft: GraphDraft) -> str:
    """1 for the question's own tokens, 0 for the special ones, the passage and padding."""
    special = draft.op(
        "Or",
        draft.op("Equal", "input_ids", draft.ints(CLS)),
        draft.op("Equal", "input_ids", draft.ints(SEP)),
    )
    plain = draft.op("Cast", draft.op("Not", special), to=TensorProto.INT64)
    of_question = draft.op("Mul", "attention_mask", draft.op("Sub", draft.ints(1), "token_type_ids"))
    return draft.op("Cast", draft.op("Mul", of_question, plain), to=TensorProto.FLOAT)


def _count(draft: GraphDraft, asked: str) -> str:
    """At least 1: a question of signs the vocabulary lacks has no tokens."""
    one = draft.constant(np.array([1.0], np.float32))
    return draft.op("Max", draft.op("ReduceSum", asked, draft.ints(1), keepdims=1), one)
