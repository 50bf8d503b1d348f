"""The frame every askmesh process is bolted to; it knows nothing of passages, prompts or models."""
