"""Which reranker a retriever has: the arms of `settings.reranker`."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from chassis.errors import EmbedderUnavailable, SettingsInvalid
from chassis.telemetry import Telemetry
from embedding.manifest import Graph, SourceFiles
from embedding.models import ensure_model
from retriever.ports import Reranker
from retriever.reranking.absent import AbsentReranker
from retriever.settings import RetrieverSettings

_log = logging.getLogger(__name__)


async def open_reranker(stack: AsyncExitStack, settings: RetrieverSettings, telemetry: Telemetry) -> Reranker | None:
    """None: the fused order stands. What the reranker holds open is closed by `stack`.

    Raises:
        SettingsInvalid: what it needs is not installed, or a setting names no tokenizer.
    """
    try:
        match settings.reranker:
            case "none":
                return None
            case "onnx":
                return await _in_process(stack, settings)
            case "triton":
                return await _on_triton(stack, settings, telemetry)
    except EmbedderUnavailable as error:
        _log.warning("no reranker, passages stay in the fused order", extra={"why": error.message})
        return AbsentReranker()


async def _in_process(stack: AsyncExitStack, settings: RetrieverSettings) -> Reranker:
    from retriever.reranking.onnx import OnnxReranker  # noqa: PLC0415  # only where it is used

    precision = settings.reranker_precision
    files = await ensure_model(precision, Graph.LATE_INTERACTION)
    return await stack.enter_async_context(OnnxReranker.opened(files, precision))


async def _on_triton(stack: AsyncExitStack, settings: RetrieverSettings, telemetry: Telemetry) -> Reranker:
    try:  # imported here: the client is installed with askmesh[cluster] only
        from retriever.reranking.triton import ServedModel, TritonReranker  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsInvalid("ASKMESH_RETRIEVER_RERANKER: triton needs `pip install askmesh[cluster]`") from exc

    model = ServedModel(settings.reranker_model, settings.reranker_model_version, settings.reranker_revision)
    opened = TritonReranker.opened(
        settings.reranker_address,
        settings.reranker_tokenizer_file or SourceFiles.locate().tokenizer,
        model,
        telemetry=telemetry,
    )
    return await stack.enter_async_context(opened)
