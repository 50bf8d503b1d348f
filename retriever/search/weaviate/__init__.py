"""The dense leg of a cluster: vectors in Weaviate, a class for each embedder, a Weaviate tenant for each collection.

What it does not do: the catalogue and the lexical leg, which are OpenSearch's.
"""

from __future__ import annotations

import warnings

# The client package imports a part of authlib that tells everyone, once, of a change in authlib's own future.
with warnings.catch_warnings():
    from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    import weaviate as _  # noqa: F401  # so that it is imported here

from retriever.search.weaviate.dense import WeaviateDenseIndex
from retriever.search.weaviate.engine import Engine, open_engine
from retriever.search.weaviate.holdings import WeaviateHoldings

__all__ = ["Engine", "WeaviateDenseIndex", "WeaviateHoldings", "open_engine"]
