"""all-MiniLM-L6-v2 as an ONNX graph, written node by node from its weights.

BERT (Devlin et al. 2019) with 6 layers, then mean pooling over the mask and L2, as sentence-transformers does. The
scale 1/sqrt(32) of attention is folded into the query weights and the single token type into the position table.

int8 is ours too, not onnxruntime.quantization's: MatMul weights symmetric per output channel in 7 bits ("reduce_range":
u8 x s8 products saturate 16 bits on processors without VNNI; with it all processors give equal integers), activations
dynamic per run (DynamicQuantizeLinear), the word table per row. So the bytes, hence the vectors, do not follow the
version of a quantiser, the build takes a second, and rows with scales of their own are closer to fp32 than a table with
one scale.

Because activations are scaled per run, a text of a batch would depend on its neighbours: run int8 one text at a time.
Runs only in embedding.build: `onnx` holds every tensor twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedding.manifest import Precision
from embedding.ports import FloatArray

OPSET = 20  # the first with Gelu; LayerNormalization is of 17
IR_VERSION = 9  # that of opset 20; older runtimes (Triton 2.51) read it
LAYERS, HEADS, HEAD_DIM, HIDDEN = 6, 12, 32, 384  # config.json of the model
EPSILON = 1e-12  # layer_norm_eps, ibid.
MASKED = -1e4  # a score whose softmax weight is 0 in float32
MODEL_INPUTS = ("input_ids", "attention_mask")
INT7_MAX = 64  # reduce_range: -64..64
INT8_MAX = 127

Weights = Mapping[str, FloatArray]


@dataclass(slots=True)
class GraphDraft:
    """Nodes and constants collected in order. Every method returns the name of the value it made."""

    precision: Precision
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, array: NDArray[np.generic]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def linear(self, x: str, weight: FloatArray, bias: FloatArray) -> str:
        """x W + b, with `weight` as (in, out)."""
        if self.precision is Precision.FP32:
            return self.op("Add", self.op("MatMul", x, self.constant(weight)), self.constant(bias))
        quantised, scale = quantise(weight, axis=0, top=INT7_MAX)
        rounded, x_scale, x_zero = self.ops("DynamicQuantizeLinear", x, outputs=3)
        product = self.op("MatMulInteger", rounded, self.constant(quantised), x_zero)
        rescale = self.op("Mul", x_scale, self.constant(scale.reshape(-1)))
        scaled = self.op("Mul", self.op("Cast", product, to=TensorProto.FLOAT), rescale)
        return self.op("Add", scaled, self.constant(bias))

    def lookup(self, table: FloatArray, ids: str) -> str:
        if self.precision is Precision.FP32:
            return self.op("Gather", self.constant(table), ids)
        quantised, scale = quantise(table, axis=1, top=INT8_MAX)
        rows = self.op("Cast", self.op("Gather", self.constant(quantised), ids), to=TensorProto.FLOAT)
        return self.op("Mul", rows, self.op("Gather", self.constant(scale), ids))

    def norm(self, x: str, weights: Weights, name: str) -> str:
        scale, bias = (self.constant(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def quantise(array: FloatArray, *, axis: int, top: int) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric integers in -top..top with one scale per slice along `axis`; `axis` stays in the scale's shape."""
    largest = np.abs(array).max(axis=axis, keepdims=True)
    scale = np.where(largest == 0, np.float32(1), largest / np.float32(top)).astype(np.float32)
    return np.rint(array / scale).astype(np.int8), scale


def build_model(weights: Weights, precision: Precision) -> onnx.ModelProto:
    """The graph: input_ids and attention_mask, int64 (batch, tokens), to `embedding`, float32 (batch, 384), unit."""
    draft = GraphDraft(precision)
    _pool(draft, token_vectors(draft, weights, _in_order, _mask_bias))
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])
    return finished(draft, "all-MiniLM-L6-v2", MODEL_INPUTS, output)


def token_vectors(
    draft: GraphDraft,
    weights: Weights,
    positions: Callable[[GraphDraft, FloatArray], str],
    bias: Callable[[GraphDraft], str],
) -> str:
    """The last layer's vectors of `input_ids`, (batch, tokens, 384).

    Args:
        positions: Adds what takes each token's row of the position table; its shape goes with (batch, tokens, 384).
        bias: Adds what attention's scores are shifted by, to go with (batch, head, query, key): 0 where a token may
            look at another and MASKED where not.
    """
    words = draft.lookup(weights["embeddings.word_embeddings.weight"], "input_ids")
    # The model was trained on sentences of one part, so the token type is always row 0.
    table = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    x = draft.norm(draft.op("Add", words, positions(draft, table)), weights, "embeddings.LayerNorm")
    shift = bias(draft)
    for index in range(LAYERS):
        x = _layer(draft, weights, f"encoder.layer.{index}", x=x, bias=shift)
    return x


def _in_order(draft: GraphDraft, table: FloatArray) -> str:
    length = draft.op("Shape", "input_ids", start=1, end=2)
    return draft.op("Slice", draft.constant(table), draft.ints(0), length, draft.ints(0))


def _mask_bias(draft: GraphDraft) -> str:
    """0 where a token stands and MASKED where padding does, shaped to be added to (batch, head, query, key)."""
    mask = draft.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    one, masked = (draft.constant(np.array([value], np.float32)) for value in (1.0, MASKED))
    return draft.op("Unsqueeze", draft.op("Mul", draft.op("Sub", one, mask), masked), draft.ints(1, 2))


def _layer(draft: GraphDraft, weights: Weights, name: str, *, x: str, bias: str) -> str:
    attended = _attention(draft, weights, f"{name}.attention", x=x, bias=bias)
    x = draft.norm(draft.op("Add", x, attended), weights, f"{name}.attention.output.LayerNorm")
    inner = draft.op("Gelu", draft.linear(x, *_dense(weights, f"{name}.intermediate.dense")))
    outer = draft.linear(inner, *_dense(weights, f"{name}.output.dense"))
    return draft.norm(draft.op("Add", x, outer), weights, f"{name}.output.LayerNorm")


def _attention(draft: GraphDraft, weights: Weights, name: str, *, x: str, bias: str) -> str:
    fused = draft.linear(x, *_query_key_value(weights, name))
    query, key, value = draft.ops("Split", fused, outputs=3, axis=2, num_outputs=3)
    shape = draft.ints(0, 0, HEADS, HEAD_DIM)
    query = draft.op("Transpose", draft.op("Reshape", query, shape), perm=[0, 2, 1, 3])
    key = draft.op("Transpose", draft.op("Reshape", key, shape), perm=[0, 2, 3, 1])
    value = draft.op("Transpose", draft.op("Reshape", value, shape), perm=[0, 2, 1, 3])
    scores = draft.op("Softmax", draft.op("Add", draft.op("MatMul", query, key), bias), axis=-1)
    mixed = draft.op("Transpose", draft.op("MatMul", scores, value), perm=[0, 2, 1, 3])
    return draft.linear(draft.op("Reshape", mixed, draft.ints(0, 0, HIDDEN)), *_dense(weights, f"{name}.output.dense"))


def _query_key_value(weights: Weights, name: str) -> tuple[FloatArray, FloatArray]:
    """One (in, 3 x out) product instead of three, the attention scale in the query's part."""
    parts = [_dense(weights, f"{name}.self.{part}") for part in ("query", "key", "value")]
    scale = np.float32(HEAD_DIM**-0.5)
    scaled = [(parts[0][0] * scale, parts[0][1] * scale), *parts[1:]]
    return np.concatenate([part[0] for part in scaled], axis=1), np.concatenate([part[1] for part in scaled])


def _dense(weights: Weights, name: str) -> tuple[FloatArray, FloatArray]:
    return weights[f"{name}.weight"].T, weights[f"{name}.bias"]


def _pool(draft: GraphDraft, x: str) -> None:
    """Mean over the tokens that stand, then L2. [CLS] and [SEP] are tokens too: so the model was trained."""
    mask = draft.op("Unsqueeze", draft.op("Cast", "attention_mask", to=TensorProto.FLOAT), draft.ints(2))
    total = draft.op("ReduceSum", draft.op("Mul", x, mask), draft.ints(1), keepdims=0)
    mean = draft.op("Div", total, draft.op("ReduceSum", mask, draft.ints(1), keepdims=0))
    length = draft.op("ReduceL2", mean, draft.ints(1), keepdims=1)
    draft.nodes.append(helper.make_node("Div", [mean, length], ["embedding"]))


def finished(draft: GraphDraft, name: str, inputs: Sequence[str], output: onnx.ValueInfoProto) -> onnx.ModelProto:
    """The draft as a model of int64 inputs (batch, tokens) and one output."""
    shape = ["batch", "tokens"]
    described = [helper.make_tensor_value_info(one, TensorProto.INT64, shape) for one in inputs]
    graph = helper.make_graph(draft.nodes, name, described, [output], draft.constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="askmesh"
    )
