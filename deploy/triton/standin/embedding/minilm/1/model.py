"""The real embedding model, run by ONNX Runtime inside Triton's Python backend.

STANDIN_GRAPH: the fp32 model.onnx, made by `python -m embedding.build --precision fp32`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

INPUTS = ("input_ids", "attention_mask")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:  # noqa: ARG002  # the backend's signature
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # tests share their processors with other servers
        self._session = onnxruntime.InferenceSession(os.environ["STANDIN_GRAPH"], options)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One run for all requests: the batcher joins those of equal length."""
        given = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS] for request in requests
        ]
        joined = {name: np.concatenate([each[at] for each in given]) for at, name in enumerate(INPUTS)}
        [vectors] = self._session.run(["embedding"], joined)
        ends = np.cumsum([len(each[0]) for each in given])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("embedding", np.ascontiguousarray(rows))])
            for rows in np.split(vectors, ends)
        ]
