"""A real reranking model, run by ONNX Runtime inside Triton's Python backend.

STANDIN_RERANKER: a graph with a cross-encoder's tensors, such as `python -m embedding.build --precision fp32 --graph
late-interaction` makes. STANDIN_RERANKER_PACE: seconds each run takes longer, for tests of a slow one.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:  # noqa: ARG002  # the backend's signature
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2  # a retrieval waits for it; a developer's machine has at least two
        self._session = onnxruntime.InferenceSession(os.environ["STANDIN_RERANKER"], options)
        self._pace_s = float(os.environ.get("STANDIN_RERANKER_PACE", "0"))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One run for all requests: the batcher joins those of equal length."""
        time.sleep(self._pace_s)
        given = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS] for request in requests
        ]
        joined = {name: np.concatenate([each[at] for each in given]) for at, name in enumerate(INPUTS)}
        [logits] = self._session.run(["logits"], joined)
        ends = np.cumsum([len(each[0]) for each in given])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("logits", np.ascontiguousarray(rows))])
            for rows in np.split(logits, ends)
        ]
