"""Three tensor contracts: what each reads from a request and writes into a response.

They are those of the engines named in deploy/triton/README.md: names, types, shapes, defaults, what is cumulative.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

END_OF_TURN = "<end_of_turn>"


class Refused(Exception):
    """The model takes no such request; `str()` is the kind of refusal (see model.py)."""


@dataclass(frozen=True)
class Ask:
    """A request as the engine sees it."""

    prompt: str
    max_tokens: int
    stop: tuple[str, ...]
    is_streaming: bool
    repeats_prompt: bool
    wants: frozenset[str]


@dataclass
class Progress:
    """An answer under way; `said` is all of it, `new` its last piece."""

    ask: Ask
    said: bytes = b""
    new: bytes = b""
    tokens: int = 0  # of `new`
    finish_reason: str | None = None


@dataclass(frozen=True)
class Contract:
    """`final_comes_alone`: the FINAL flag has a response of its own."""

    read: Callable[[Any], Ask]
    write: Callable[[Progress], list[Any]]
    final_comes_alone: bool = False


def _values(request: Any, name: str) -> list[Any]:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return [] if tensor is None else tensor.as_numpy().reshape(-1).tolist()


def _value(request: Any, name: str, default: Any) -> Any:
    return (_values(request, name) or [default])[0]


def _texts(request: Any, name: str) -> tuple[str, ...]:
    return tuple(value.decode() for value in _values(request, name))


def _wants(request: Any, *names: str) -> frozenset[str]:
    return frozenset(name for name in names if _value(request, f"return_{name}", False))


def _string(name: str, value: bytes) -> Any:
    return pb_utils.Tensor(name, np.array([value], dtype=np.object_))


def _read_llmapi(request: Any) -> Ask:
    """TensorRT-LLM 1.2.1 gives its tokenizer the stop sequences as the bytes they come in; it takes text only."""
    if _values(request, "sampling_param_stop"):
        raise Refused("untokenizable")
    return Ask(
        prompt=_texts(request, "text_input")[0],
        max_tokens=_value(request, "sampling_param_max_tokens", 32),
        stop=(END_OF_TURN,),  # as ../../models/tensorrt_llm/1/end_of_turn.py tells the real one
        is_streaming=_value(request, "streaming", False),
        repeats_prompt=not _value(request, "sampling_param_exclude_input_from_output", False),
        wants=_wants(request, "finish_reason"),
    )


def _write_llmapi(progress: Progress) -> list[Any]:
    tensors = [_string("text_output", progress.said)]
    if "finish_reason" in progress.ask.wants:
        tensors.append(_string("finish_reason", str(progress.finish_reason).encode()))
    return tensors


def _read_ensemble(request: Any) -> Ask:
    return Ask(
        prompt=_texts(request, "text_input")[0],
        max_tokens=_value(request, "max_tokens", 0),
        stop=_texts(request, "stop_words"),
        is_streaming=_value(request, "stream", False),
        repeats_prompt=False,
        wants=frozenset(),
    )


def _write_ensemble(progress: Progress) -> list[Any]:
    return [pb_utils.Tensor("text_output", np.array([[progress.new]], dtype=np.object_))]


def _read_vllm(request: Any) -> Ask:
    parameters = json.loads(_texts(request, "sampling_parameters")[0])
    return Ask(
        prompt=_texts(request, "text_input")[0],
        max_tokens=parameters.get("max_tokens", 16),
        stop=tuple(parameters.get("stop", ())),
        is_streaming=_value(request, "stream", False),
        repeats_prompt=False,
        wants=_wants(request, "finish_reason", "num_input_tokens", "num_output_tokens"),
    )


def _write_vllm(progress: Progress) -> list[Any]:
    wants = progress.ask.wants
    tensors = [_string("text_output", progress.new)]
    if "finish_reason" in wants:
        tensors.append(_string("finish_reason", str(progress.finish_reason).encode()))
    if "num_input_tokens" in wants:
        count = np.asarray([len(progress.ask.prompt.split())], dtype=np.uint32)
        tensors.append(pb_utils.Tensor("num_input_tokens", count))
    if "num_output_tokens" in wants:
        tensors.append(pb_utils.Tensor("num_output_tokens", np.asarray([progress.tokens], dtype=np.uint32)))
    return tensors


CONTRACTS = {
    "llmapi": Contract(_read_llmapi, _write_llmapi),
    "ensemble": Contract(_read_ensemble, _write_ensemble, final_comes_alone=True),
    "vllm": Contract(_read_vllm, _write_vllm),
}
