"""Between the contract's messages and the retriever's nouns: validation on the way in, nothing decided."""
