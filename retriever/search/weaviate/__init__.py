"""The dense leg of a cluster: vectors in Weaviate, a class for each embedder, a Weaviate tenant for each collection.

What it does not do: the catalogue and the lexical leg, which are OpenSearch's.
"""

from retriever.search.weaviate.dense import WeaviateDenseIndex
from retriever.search.weaviate.engine import Engine, open_engine

__all__ = ["Engine", "WeaviateDenseIndex", "open_engine"]
