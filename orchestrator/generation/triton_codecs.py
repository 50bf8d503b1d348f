"""Three tensor contracts of language models on Triton, and what their answers mean. No I/O, no client library.

Rule 1: a codec is chosen in the settings and never guessed: a cumulative text read as pieces repeats itself.
Rule 2: the FINAL flag says that no more comes; a finish reason says why. A contract that has one always gives it, so
        that an answer without broke off. Where a contract has none, an answer as long as was allowed was cut, and any
        other is complete. An answer that was left at a stop sequence ended there, whatever the engine did.
Rule 3: an optional input is sent only where the contract's oldest supported container knows it, and takes it.

Source: the configurations and models of TensorRT-LLM (triton_backend/all_models) and of Triton's vLLM backend
(src/model.py, src/utils/request.py); deploy/triton/README.md says at which commits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from chassis.errors import ModelUnavailable
from orchestrator.generation.triton_tensors import Outputs, Tensor, count_in, flag, number, text_in, texts
from orchestrator.generation.triton_text import CumulativeText, DeltaText, TextSource
from orchestrator.types import FinishReason, GenerationEnd, Sampling

__all__ = ["CODECS", "Codec", "CodecName", "Reading"]

CodecName = Literal["trtllm", "ensemble", "vllm"]

_NOT_YET = {b"", b"None"}
_REASONS = {b"stop": FinishReason.STOP, b"length": FinishReason.LENGTH}


@dataclass(frozen=True, slots=True)
class Codec:
    """One contract.

    Attributes:
        inputs: The request's tensors for a rendered prompt, the sampling and the stop sequences.
        outputs: Asked for by name; empty asks for what the model chooses to send.
        text: A new reader of its text_output.
        counts_responses: A response is a token, and there is no finish reason: the count tells whether it was cut.
        asks_for_status: Errors are asked for as the stream's status (`triton_grpc_error`).
    """

    name: CodecName
    inputs: Callable[[str, Sampling, Sequence[str]], list[Tensor]]
    outputs: tuple[str, ...]
    text: Callable[[], TextSource]
    counts_responses: bool = False
    asks_for_status: bool = True

    def reading(self, sampling: Sampling) -> Reading:
        return Reading(self, sampling)


class Reading:
    """One answer being read."""

    def __init__(self, codec: Codec, sampling: Sampling) -> None:
        self._text = codec.text()
        self._counts_responses = codec.counts_responses
        self._max_tokens = sampling.max_tokens
        self._responses = 0
        self._finish_reason: FinishReason | None = None
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None

    def read(self, outputs: Outputs) -> str:
        """The new text of one response; a response without outputs says nothing.

        Raises:
            ModelUnavailable: these are not the codec's tensors, or the engine says that it gave up.
        """
        if not outputs:
            return ""
        self._responses += 1
        self._note_reason(outputs)
        self._note_counts(outputs)
        return self._text.push(text_in(outputs, "text_output"))

    def rest(self) -> str:
        """Text held back, once the answer is whole."""
        return self._text.rest()

    def end(self, *, is_stopped: bool = False) -> GenerationEnd:
        """How the answer ended.

        Args:
            is_stopped: It was left at a stop sequence.
        Raises:
            ModelUnavailable: no response held any text, not even an empty one; or nothing says why it ended.
        """
        if not self._responses:
            raise ModelUnavailable("the model sent no answer: check that its codec is the chosen one")
        return GenerationEnd(self._reason(is_stopped), self._prompt_tokens, self._completion_tokens)

    def _reason(self, is_stopped: bool) -> FinishReason:
        if is_stopped:
            return FinishReason.STOP
        if self._finish_reason is not None:
            return self._finish_reason
        if not self._counts_responses:
            raise _broken_off()
        return FinishReason.LENGTH if self._responses >= self._max_tokens else FinishReason.STOP

    def _note_reason(self, outputs: Outputs) -> None:
        reason = text_in(outputs, "finish_reason") if "finish_reason" in outputs else b""
        if reason in _NOT_YET:
            return
        if reason not in _REASONS:  # cancelled, timeout, abort, error: the answer is not whole
            raise _broken_off()
        self._finish_reason = _REASONS[reason]

    def _note_counts(self, outputs: Outputs) -> None:
        prompt_tokens = count_in(outputs, "num_input_tokens")
        new_tokens = count_in(outputs, "num_output_tokens")  # of this response alone
        if prompt_tokens is not None:
            self._prompt_tokens = prompt_tokens
        if new_tokens is not None:
            self._completion_tokens = (self._completion_tokens or 0) + new_tokens


def _trtllm_inputs(text: str, sampling: Sampling, _stop: Sequence[str]) -> list[Tensor]:
    """No batch dimension: the model's max_batch_size is 0.

    No `sampling_param_stop`: the model hands it to its tokenizer as bytes, which refuses them, and with them the
    request (helpers.py: get_sampling_params_from_request; SamplingParams._setup). The model is told where a turn ends
    when it is deployed: deploy/triton/models/tensorrt_llm/1/end_of_turn.py.
    """
    tensors = [
        texts("text_input", [text], (1,)),
        flag("streaming", True, (1,)),
        number("sampling_param_max_tokens", "INT32", sampling.max_tokens, (1,)),
        number("sampling_param_temperature", "FP32", sampling.temperature, (1,)),
        flag("sampling_param_exclude_input_from_output", True, (1,)),  # its default repeats the prompt
        flag("return_finish_reason", True, (1,)),
    ]
    if sampling.seed is not None:
        tensors.append(number("sampling_param_seed", "UINT64", _unsigned(sampling.seed), (1,)))
    return tensors


def _ensemble_inputs(text: str, sampling: Sampling, stop: Sequence[str]) -> list[Tensor]:
    """A batch of one in front of every shape.

    The engine is greedy, whatever the temperature, unless it hears of top_k or top_p (topPSamplingLayer.cu): all of the
    probability is what a temperature alone means.
    """
    tensors = [
        texts("text_input", [text], (1, 1)),
        flag("stream", True, (1, 1)),
        number("max_tokens", "INT32", sampling.max_tokens, (1, 1)),
        number("temperature", "FP32", sampling.temperature, (1, 1)),
    ]
    if sampling.temperature > 0:
        tensors.append(number("top_p", "FP32", 1.0, (1, 1)))
    if stop:
        tensors.append(texts("stop_words", stop, (1, len(stop))))
    if sampling.seed is not None:
        tensors.append(number("seed", "UINT64", _unsigned(sampling.seed), (1, 1)))
    return tensors


def _vllm_inputs(text: str, sampling: Sampling, stop: Sequence[str]) -> list[Tensor]:
    parameters: dict[str, object] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    if stop:
        parameters["stop"] = list(stop)
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed
    return [
        texts("text_input", [text], (1,)),
        flag("stream", True, (1,)),
        texts("sampling_parameters", [json.dumps(parameters)], (1,)),
        *(flag(f"return_{name}", True, (1,)) for name in ("finish_reason", "num_input_tokens", "num_output_tokens")),
    ]


def _broken_off() -> ModelUnavailable:
    return ModelUnavailable("the model broke off in the middle of the answer; ask again")


def _unsigned(seed: int) -> int:
    return seed % (1 << 64)


# The ensemble's other outputs are logits of megabytes: only the text is asked for. Its token counts are not: whether
# they are of one response or of all so far is written nowhere, so the pipeline's tokenizer counts.
#
# Nor is a status for its errors: its containers are of 2025, and before 26.04 (triton-inference-server/server #8708)
# Triton used memory it had freed when anything followed an error in that mode. tensorrt_llm_bls sends its FINAL flag
# after one.
CODECS: dict[CodecName, Codec] = {
    codec.name: codec
    for codec in (
        Codec("trtllm", _trtllm_inputs, ("text_output", "finish_reason"), CumulativeText),
        Codec("ensemble", _ensemble_inputs, ("text_output",), DeltaText, counts_responses=True, asks_for_status=False),
        Codec("vllm", _vllm_inputs, (), DeltaText),
    )
}
