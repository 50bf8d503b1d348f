"""What an answer costs, from the model's own price per million tokens; prompt tokens are not free."""

from __future__ import annotations

from orchestrator.types import Cost, ModelInfo, Usage

MILLION = 1_000_000


def price(model: ModelInfo, usage: Usage) -> float:
    """US dollars for these tokens, to the billionth: floats of sums are not worth more."""
    prompt = usage.prompt_tokens * model.price_per_million_prompt_tokens
    completion = usage.completion_tokens * model.price_per_million_completion_tokens
    return round((prompt + completion) / MILLION, 9)


def billed(model: ModelInfo, usage: Usage) -> Cost:
    """The cost of an answer made for this caller."""
    return Cost(amount=price(model, usage))


def saved(usage: Usage, cost: Cost) -> tuple[Usage, Cost]:
    """The same answer for a caller who did not have it made: a hit or a joined generation costs nothing."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    free = Usage(saved_tokens=tokens, is_estimate=usage.is_estimate)
    return free, Cost(currency=cost.currency, amount=0.0, saved=cost.amount)
