"""Opens embedders by name: the process's own, and another one that a collection is rebuilt for."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from chassis.errors import EmbedderUnavailable
from chassis.telemetry import Telemetry
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from embedding.opening import open_remote
from embedding.ports import Embedder, TokenSpans
from embedding.tokenizer import WordPieceTokenizer
from retriever.settings import RetrieverSettings

NONE: Final = "none"
TRITON: Final = "triton"
NAMES: Final = (NONE, *(f"onnx-{precision.value}" for precision in Precision), TRITON)


def name_of(settings: RetrieverSettings) -> str:
    """What the settings name."""
    match settings.embedder:
        case "onnx":
            return f"onnx-{settings.embedder_precision.value}"
        case other:
            return other


async def open_embedder(
    name: str, stack: AsyncExitStack, settings: RetrieverSettings, telemetry: Telemetry
) -> Embedder | None:
    """The embedder of this name, closed by `stack`; None for "none".

    Args:
        name: One of NAMES.
        settings: Where one that runs elsewhere is.
    Raises:
        EmbedderUnavailable: it is not here.  SettingsInvalid: its client is not.
    """
    if name == NONE:
        return None
    if name == TRITON:
        remote = open_remote(settings.embedder_address, telemetry, proxy=settings.outbound_proxy)
        return await stack.enter_async_context(remote)
    precision = Precision(name.removeprefix("onnx-"))
    files = await ensure_model(precision)
    return await stack.enter_async_context(OnnxEmbedder.opened(files, precision))


def token_spans(embedder: Embedder | None) -> TokenSpans | None:
    """The model's own tokenizer where the embedder has one; chunks are measured with an estimate elsewhere."""
    tokenizer = getattr(embedder, "tokenizer", None)
    return tokenizer if isinstance(tokenizer, WordPieceTokenizer) else None


__all__ = ["NAMES", "EmbedderUnavailable", "name_of", "open_embedder", "token_spans"]
