"""Retrieval on Weaviate and OpenSearch, beside the embedded leaves in the same run; the rig starts their servers.

What may differ: OpenSearch scores and cuts words in its own way, and Weaviate's search may be approximate. Fusion's
weights are those of the embedded leaves; what is tuned here, on XQuAD's even articles alone, is OpenSearch's analysis.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from askmesh.rig.opensearch import running_opensearch
from askmesh.rig.weaviate import running_weaviate
from bench.quality.retrieval import LEGS, ask_stack, ask_xquad, figures, table
from bench.quality.stack import Stack, embedded_stack, stack_over
from embedding.ports import Embedder, TokenSpans
from retriever.ingest.commit import Stores

BESIDE = "embedded"  # the prefix of the embedded leaves' figures


@asynccontextmanager
async def cluster_stack(embedder: Embedder, tokens: TokenSpans | None) -> AsyncIterator[Stack]:
    """An empty stack over servers of its own; they go away with the context.

    Raises:
        RigMissing: they are not built.
    """
    # Imported here: their clients are installed with askmesh[cluster] only.
    from retriever.search.opensearch import OpenSearchAddress, open_opensearch  # noqa: PLC0415
    from retriever.search.weaviate import WeaviateDenseIndex, open_engine  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="askmesh-eval-") as folder:
        async with (
            running_opensearch(Path(folder) / "opensearch") as words,
            running_weaviate(Path(folder) / "weaviate") as vectors,
            open_opensearch(OpenSearchAddress(words.url)) as store,
            open_engine(vectors.url, f"{vectors.host}:{vectors.ports['grpc']}") as engine,
        ):
            dense = WeaviateDenseIndex(engine, fingerprint=embedder.fingerprint, dim=embedder.dim)
            stores = Stores(heads=store.heads, records=store.records, dense=dense, lexical=store.lexical)
            async with stack_over(stores, (dense, store.lexical), embedder, tokens) as stack:
                yield stack


async def evaluate(folder: Path, embedder: Embedder, tokens: TokenSpans | None) -> dict[str, float]:
    """Every figure of bench.quality.retrieval on the cluster; XQuAD's on the embedded leaves; "gap" between the two."""
    async with cluster_stack(embedder, tokens) as stack:
        values = figures(await ask_stack(stack, folder))
    async with embedded_stack(embedder, tokens) as stack:
        beside = figures(await ask_xquad(stack, folder))
    values |= {f"{BESIDE}.{name}": value for name, value in beside.items()}
    name = "xquad.whole.hybrid.ndcg10"
    return values | {"gap": values[name] - beside[name]}


def text_of(values: Mapping[str, float]) -> str:
    """The cluster's tables, then both sets of leaves leg by leg."""
    own = {name: value for name, value in values.items() if not name.startswith(f"{BESIDE}.")}
    lines = [table(own), "", f"{'XQuAD-en nDCG@10':18}{'cluster':>10}{'embedded':>10}"]
    for half in ("even", "odd", "whole"):
        for leg in LEGS:
            name = f"xquad.{half}.{leg}.ndcg10"
            lines.append(f"{half + ' ' + leg:18}{values[name]:10.4f}{values[f'{BESIDE}.{name}']:10.4f}")
    return "\n".join(lines)
