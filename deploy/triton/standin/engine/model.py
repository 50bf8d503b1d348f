"""The stand-in model: each request is answered by a thread of its own, at its own pace, until it is cancelled.

Counts what tests ask about, in Triton's own metrics, by model: standin_requests_total, standin_tokens_total (generated,
sent or not), standin_cancelled_total (cancels noticed) and standin_cancelled_at_seconds (the last of them, on this
machine's monotonic clock).

STANDIN_LOAD_GATE: a file; the model is loading until it exists.  STANDIN_SCRIPT: see script.py.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import triton_python_backend_utils as pb_utils

from engine.contracts import CONTRACTS, Ask, Contract, Progress, Refused
from engine.script import Script, script_of, without_directives
from engine.words import answer_to, question_of, tokens_of

LOOK_S = 0.01  # between two looks for a cancel; TensorRT-LLM's own period is set to 50 ms in deploy/triton
SPLIT_BYTES = 3  # a piece of a cut answer: cuts both two-byte and four-byte characters
STRAY = " and on it went"  # said after the stop sequence by a model that leaks
_REFUSALS = {  # by name: pb_utils has the codes only once the model is made
    "unavailable": ("UNAVAILABLE", "the engine is gone"),
    "overloaded": ("UNAVAILABLE", "Exceeds maximum queue size"),
    "internal": ("INTERNAL", "CUDA error on gpu-node-7"),
    "cancelled": ("CANCELLED", "Request cancelled by client"),
    "untokenizable": ("INTERNAL", "Error generating request: TextInputSequence must be str"),
}


class StandIn:
    """Subclassed by each model of the repository, which names its contract."""

    contract: ClassVar[str]

    def initialize(self, args: dict[str, str]) -> None:
        gate = os.environ.get("STANDIN_LOAD_GATE")
        while gate and not Path(gate).exists():
            time.sleep(LOOK_S)
        self._contract = CONTRACTS[self.contract]
        self._script = os.environ.get("STANDIN_SCRIPT", "")
        self._families = _families()  # a metric dies with its family
        labels = {"model": args["model_name"]}
        self._metrics = {name: family.Metric(labels=labels) for name, family in self._families.items()}
        self._lock = threading.Lock()  # metrics are not safe to use from two threads: the backend crashes
        self._closing = threading.Event()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            self._count("requests")
            threading.Thread(target=self._answer, args=(request, request.get_response_sender())).start()

    def finalize(self) -> None:
        self._closing.set()

    def _answer(self, request: Any, sender: Any) -> None:
        try:
            ask = self._contract.read(request)
        except Refused as refused:
            return _fail(sender, str(refused))
        question = question_of(ask.prompt)
        script = script_of(self._script, question)
        if script.refuse:
            return _fail(sender, script.refuse)
        answer = _Answer(self._contract, ask, script, sender)
        pieces, reason = _pieces(ask, answer_to(ask.prompt, without_directives(question)), script)
        for at, piece in enumerate(pieces):
            if at == script.break_at:
                return _fail(sender, "internal")
            if self._is_cancelled(sender, float("inf") if at == script.stall_at else script.pace_s):
                self._note_cancel()
                self._count("cancelled")
                return _fail(sender, "cancelled")
            self._count("tokens")
            answer.go_on(piece, reason if at == len(pieces) - 1 else None)
        return answer.end()

    def _is_cancelled(self, sender: Any, wait_s: float) -> bool:
        """Waits; True as soon as the request is cancelled or the server stops."""
        end = time.monotonic() + wait_s
        while not sender.is_cancelled():
            left_s = end - time.monotonic()
            if left_s <= 0:
                return False
            if self._closing.wait(min(LOOK_S, left_s)):
                return True
        return True

    def _count(self, name: str) -> None:
        with self._lock:
            self._metrics[f"{name}_total"].increment(1)

    def _note_cancel(self) -> None:
        with self._lock:
            self._metrics["cancelled_at_seconds"].set(time.monotonic())


class _Answer:
    """One answer on its way out."""

    def __init__(self, contract: Contract, ask: Ask, script: Script, sender: Any) -> None:
        self._contract = contract
        self._script = script
        self._sender = sender
        self._progress = Progress(ask, said=ask.prompt.encode() if ask.repeats_prompt else b"")
        self._final_comes_alone = contract.final_comes_alone or script.has_empty_final

    def go_on(self, piece: bytes, reason: str | None) -> None:
        """One token more; with a reason it is the last."""
        progress = self._progress
        whole = progress.said + piece
        progress.said, progress.new = whole, whole if self._script.repeats else progress.new + piece
        progress.finish_reason = None if self._script.hides_reason else reason
        progress.tokens += 1
        if not progress.ask.is_streaming and reason is None:
            return
        if self._script.is_undecoded:
            progress.said = whole.decode("utf-8", "replace").encode()
        is_final = reason is not None and not self._final_comes_alone
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if is_final else 0
        tensors = self._contract.write(progress)
        sent = tensors[1:] if self._script.has_no_text else tensors  # the text is every contract's first
        self._sender.send(pb_utils.InferenceResponse(sent), flags=flags)
        progress.said, progress.new, progress.tokens = whole, b"", 0

    def end(self) -> None:
        if self._final_comes_alone:
            self._sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _pieces(ask: Ask, text: str, script: Script) -> tuple[list[bytes], str]:
    """The answer as it is generated, and why it ends."""
    if script.leaks:
        text += "".join(ask.stop) + STRAY
    if script.is_split or script.is_undecoded:
        raw = text.encode()
        pieces = [raw[start : start + SPLIT_BYTES] for start in range(0, len(raw), SPLIT_BYTES)]
    else:
        pieces = [token.encode() for token in tokens_of(text)]
    reason = "length" if len(pieces) > ask.max_tokens else "stop"
    return pieces[: ask.max_tokens], "cancelled" if script.gives_up else reason


def _fail(sender: Any, kind: str) -> None:
    code, message = _REFUSALS[kind]
    error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, code))
    sender.send(pb_utils.InferenceResponse(error=error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _families() -> dict[str, Any]:
    kinds = dict.fromkeys(("requests_total", "tokens_total", "cancelled_total"), pb_utils.MetricFamily.COUNTER)
    kinds["cancelled_at_seconds"] = pb_utils.MetricFamily.GAUGE
    return {
        name: pb_utils.MetricFamily(name=f"standin_{name}", description=f"{name} of the stand-in models", kind=kind)
        for name, kind in kinds.items()
    }
