"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, SGLang, hosted ones.

Rule 1: tokens go out as they come; nothing is gathered.
Rule 2: time is bounded everywhere: connecting, the first token and the whole by the budget, the gap between tokens by
        `stall_timeout_s`. Leaving the generator closes the connection, which is how such servers learn of a cancel.
Rule 3: a stream that ends without a finish reason, or with one that says it was given up, broke off, however politely;
        it is never taken for a whole answer. Words no server is known for ("eos") say that it is whole.
Rule 4: no word of the server's errors, of the prompt or of the address leaves in a message; the key is a SecretStr.

Does not: retry (the pipeline falls back instead), call tools, read logprobs, or apply a chat template: the server does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, ModelCold, ModelOverloaded, ModelUnavailable
from orchestrator.generation.completions import Completion, EventLines, parse_completion
from orchestrator.types import FinishReason, GenerationEnd, GenerationEvent, ModelInfo, Prompt, Sampling, TextPiece

__all__ = ["OpenAiGenerator"]

_T = TypeVar("_T")

STALL_TIMEOUT_S = 10.0  # the slowest model worth waiting for gives a token a second; ten misses mean it hangs
CONNECT_TIMEOUT_S = 2.0  # inside one region a connect takes 1-50 ms; beyond two seconds the host is gone
MAX_ERROR_BYTES = 16_384  # of an error reply, read to tell "loading" from "broken"
COLD_RETRY_S = 30.0  # loading takes 30-50 s; used when the server names no time
OVERLOADED_RETRY_S = 1.0
_CUT = frozenset({"length", "model_length"})  # the second is Mistral's: the window was full
# Azure's and OpenAI's filter, an engine that gave up (vLLM, SGLang, TGI, Mistral), and a call of a tool nobody offered.
_BROKEN_OFF = frozenset(
    {"content_filter", "abort", "error", "cancelled", "canceled", "timeout", "tool_calls", "function_call"}
)
_LOADING_WORDS = (b"loading", b"warming", b"starting", b"not ready")


class OpenAiGenerator:
    """A Generator over `POST {base_url}/chat/completions` with streaming.

    Usage is asked for (`stream_options.include_usage`). When a server leaves it out, GenerationEnd carries None and the
    pipeline counts with its own TokenCounter. A server that ignores `stream` and answers with one JSON body, also in
    the shape of `/v1/completions`, is understood: the answer is one piece.

    Args:
        client: Its pool is used and never closed here; its own timeouts do not matter.
        base_url: With the version, "https://host/v1".
        model: Its name is what the request names.
        api_key: Sent as a bearer token; None sends none.
        stop: Sequences the server must stop at, such as orchestrator.prompt.GEMMA_STOP.
        has_system_role: False puts the rules before the question in the user's turn; Gemma's template knows no system.
        stall_timeout_s: Longest gap between two tokens; the first may take the whole budget (a cold prefill is slow).
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        model: ModelInfo,
        api_key: SecretStr | None = None,
        stop: tuple[str, ...] = (),
        has_system_role: bool = True,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._model = model
        self._api_key = api_key
        self._stop = stop
        self._has_system_role = has_system_role
        self._stall_timeout_s = stall_timeout_s

    @property
    def model(self) -> ModelInfo:
        return self._model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, budget: Budget
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Stream the server's answer; see orchestrator.ports.Generator for what it yields and raises."""
        budget.check("generate")
        end = _End()
        async with (
            self._response(prompt, sampling, budget) as response,
            aclosing(self._completions(response, budget)) as completions,
        ):
            async for completion in completions:
                end.note(completion)
                if completion.text:
                    yield TextPiece(completion.text)
        yield end.event()

    @asynccontextmanager
    async def _response(self, prompt: Prompt, sampling: Sampling, budget: Budget) -> AsyncIterator[httpx.Response]:
        """The server's reply once its head is here and says 200; closed on leaving, whatever happens."""
        timeout = httpx.Timeout(None, connect=min(CONNECT_TIMEOUT_S, budget.remaining_s()))
        request = self._client.build_request(
            "POST", self._url, json=self._body(prompt, sampling), headers=self._headers(), timeout=timeout
        )
        response = await _in_time(self._client.send(request, stream=True), budget, budget.remaining_s())
        try:
            if response.status_code != httpx.codes.OK:
                raise await _refusal(response, budget)
            yield response
        finally:
            await response.aclose()

    async def _completions(self, response: httpx.Response, budget: Budget) -> AsyncGenerator[Completion, None]:
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        lines = EventLines()
        chunks = response.aiter_bytes()
        gap_s = budget.remaining_s()  # until the first token
        while (chunk := await _in_time(anext(chunks, None), budget, gap_s)) is not None:
            for payload in lines.push(chunk) if is_stream else lines.gather(chunk):
                completion = parse_completion(payload)
                if completion.text:
                    gap_s = self._stall_timeout_s
                yield completion
            if lines.is_done:
                return
        for payload in lines.finish():
            yield parse_completion(payload)

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if self._api_key is not None:
            headers["authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        return headers

    def _body(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model.name,
            "messages": self._messages(prompt),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if self._stop:
            body["stop"] = list(self._stop)
        return body

    def _messages(self, prompt: Prompt) -> list[dict[str, str]]:
        if self._has_system_role:
            return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        return [{"role": "user", "content": f"{prompt.system}\n\n{prompt.user}"}]


class _End:
    """Gathers what the last chunks say: finish reason and usage arrive apart, usage after."""

    def __init__(self) -> None:
        self._last = Completion()

    def note(self, completion: Completion) -> None:
        self._last = self._last.updated(completion)

    def event(self) -> GenerationEnd:
        said = self._last.finish_reason.lower()
        if not said or said in _BROKEN_OFF:
            raise ModelUnavailable("the model server broke off in the middle of the answer; ask again")
        reason = FinishReason.LENGTH if said in _CUT else FinishReason.STOP
        return GenerationEnd(reason, self._last.prompt_tokens, self._last.completion_tokens)


async def _in_time(step: Awaitable[_T], budget: Budget, gap_s: float) -> _T:
    """Await one step of the exchange inside the gap and the budget; httpx's errors end here."""
    left_s = budget.remaining_s()
    try:
        async with asyncio.timeout(min(gap_s, left_s)):
            return await step
    except TimeoutError as exc:
        if gap_s >= left_s:
            raise DeadlineExceeded("generate: the deadline passed before the model was done") from exc
        raise ModelUnavailable("the model server fell silent in the middle of the answer; ask again") from exc
    except httpx.HTTPError as exc:
        raise ModelUnavailable("the model server cannot be reached or broke the connection; ask again") from exc


async def _refusal(response: httpx.Response, budget: Budget) -> ModelUnavailable:
    """The typed error for a reply that is no answer."""
    status = response.status_code
    retry_after_s = _retry_after_s(response)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ModelOverloaded(
            "the model server has no room for another request", retry_after_s=retry_after_s or OVERLOADED_RETRY_S
        )
    if status == httpx.codes.SERVICE_UNAVAILABLE and await _is_loading(response, budget):
        return ModelCold("the model is loading", retry_after_s=retry_after_s or COLD_RETRY_S)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return ModelUnavailable("the model server refuses our key: check the orchestrator's settings")
    if status == httpx.codes.NOT_FOUND:
        return ModelUnavailable("the model server knows no such model or path: check the orchestrator's settings")
    return ModelUnavailable("the model server failed", retry_after_s=retry_after_s)


async def _is_loading(response: httpx.Response, budget: Budget) -> bool:
    body = b""
    chunks = response.aiter_bytes()
    while len(body) < MAX_ERROR_BYTES:
        chunk: bytes | None = await _in_time(anext(chunks, None), budget, CONNECT_TIMEOUT_S)
        if chunk is None:
            break
        body += chunk
    return any(word in body.lower() for word in _LOADING_WORDS)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; its date form is not used by model servers."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
