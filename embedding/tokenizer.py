"""MiniLM's WordPiece tokenizer: ids for the model, character offsets for the chunker."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

# A word piece is a few characters; what lies beyond this can only be blanks or one endless word ([UNK]), and the
# tokenizer would still walk through all of it before it truncates.
MAX_CHARS_PER_TOKEN = 64


class WordPieceTokenizer:
    """Safe to share between threads: nothing is changed after construction.

    Args:
        file: tokenizer.json.
        max_tokens: The model's window, the two special tokens included; only `ids` is cut there.
    """

    def __init__(self, file: Path, *, max_tokens: int) -> None:
        self._whole = Tokenizer.from_file(str(file))
        self._whole.no_truncation()
        self._whole.no_padding()
        self._window = Tokenizer.from_file(str(file))
        self._window.enable_truncation(max_tokens)
        self._window.no_padding()
        self._max_chars = max_tokens * MAX_CHARS_PER_TOKEN

    def ids(self, text: str) -> list[int]:
        """Token ids with [CLS] and [SEP], cut at the model's window."""
        ids: list[int] = self._window.encode(text[: self._max_chars]).ids
        return ids

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end character offsets of every token, in order; no special tokens, nothing truncated."""
        spans: list[tuple[int, int]] = self._whole.encode(text, add_special_tokens=False).offsets
        return spans

    def count(self, text: str) -> int:
        """How many tokens `text` has, special tokens not counted."""
        return len(self._whole.encode(text, add_special_tokens=False))
