"""The retriever: documents in, ranked passages out."""
