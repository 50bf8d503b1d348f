"""Generators: where the words of an answer come from."""
