"""From bytes to committed chunks: parse, chunk, commit."""
