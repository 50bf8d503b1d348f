"""Tells the LLM-API model of NVIDIA's container where a turn ends; start.sh hooks it into that model's helpers.py.

A Gemma ends its turn with <end_of_turn>, which is not its tokenizer's end of text, so that the engine would go on
until the answer is as long as was allowed. A request cannot tell: the model hands `sampling_param_stop` to its
tokenizer as the bytes it came in, which raises TypeError. The weights themselves can: generation_config.json lists
every token that ends a text.

Source: TensorRT-LLM 1.2.1, triton_backend/all_models/llmapi/tensorrt_llm/1/helpers.py
(get_sampling_params_from_request) and tensorrt_llm/sampling_params.py (SamplingParams.stop_token_ids, _setup). Releases
that read the list by themselves (#10389) hear of it twice, which changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def ending_turns(read: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The model's reader of sampling parameters, with the tokens at which the weights in $WEIGHTS end a text."""
    ends = end_ids(Path(os.environ["WEIGHTS"]))

    def read_with_ends(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**read(*args, **kwargs), "stop_token_ids": list(ends)}

    return read_with_ends


def end_ids(weights: Path) -> list[int]:
    """Fails where they are not listed: a model that never ends its turn must not look ready."""
    ids = json.loads((weights / "generation_config.json").read_text())["eos_token_id"]
    return ids if isinstance(ids, list) else [ids]
