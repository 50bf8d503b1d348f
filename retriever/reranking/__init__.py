"""Rerankers, run inside what is left of the timebox."""
