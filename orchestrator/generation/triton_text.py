"""Text out of an engine's pieces: whole characters, each once, and nothing from a stop sequence on. No I/O.

Rule 1: a character cut between two pieces is held back until it is whole. Engines cut them in two ways: the bytes
        themselves, or U+FFFD for what their tokenizer cannot decode yet, replaced by the character in a later piece.
Rule 2: what was said is said. An engine that sends the text so far and then another beginning is not understood.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from chassis.errors import ModelUnavailable

__all__ = ["CumulativeText", "DeltaText", "StopFilter", "TextSource"]

_UNDECODED = "\ufffd"
STAMMERS = 5  # "N", "Ni", "Nik", "Niko", "Nikol": no language's tokens do that


class TextSource(Protocol):
    def push(self, raw: bytes) -> str:
        """What is new and whole after one more piece."""
        ...

    def rest(self) -> str:
        """What was held back; after the last piece."""
        ...


class DeltaText:
    """Each piece is what is new.

    An engine that sends all so far instead would be heard stammering (tensorrt_llm_bls with accumulate_tokens does), so
    that an answer whose every piece goes on from the one before is refused as soon as that can be no accident.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = b""
        self._grown = 0  # pieces so far that went on from the one before; below zero: one did not

    def push(self, raw: bytes) -> str:
        if raw and self._grown >= 0:
            self._compare(raw)
        return self._decoder.decode(raw)

    def _compare(self, raw: bytes) -> None:
        goes_on = len(raw) > len(self._last) and raw.startswith(self._last)
        self._grown = self._grown + 1 if goes_on else -1
        self._last = raw
        if self._grown >= STAMMERS:
            raise ModelUnavailable("the model repeats what it said: its codec is another than the chosen one")

    def rest(self) -> str:
        return self._decoder.decode(b"", final=True)


class CumulativeText:
    """Each piece is the whole text so far."""

    def __init__(self) -> None:
        self._said = ""
        self._raw = b""

    def push(self, raw: bytes) -> str:
        self._raw = raw
        whole = codecs.getincrementaldecoder("utf-8")("replace").decode(raw).rstrip(_UNDECODED)
        if len(whole) < len(self._said) and self._said.startswith(whole):
            return ""  # a character that was there is being replaced
        return self._beyond(whole)

    def rest(self) -> str:
        return self._beyond(self._raw.decode("utf-8", "replace"))

    def _beyond(self, whole: str) -> str:
        if not whole.startswith(self._said):
            raise ModelUnavailable("the model takes back what it said: its codec is another than the chosen one")
        new = whole[len(self._said) :]
        self._said = whole
        return new


class StopFilter:
    """Cuts the text at the first stop sequence, also one that is spread over pieces.

    Engines differ in whether the sequence they stopped at is in the text, and some go on after it.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(filter(None, stop))
        self._held = ""
        self.is_stopped = False

    def push(self, text: str) -> str:
        """What can be said now."""
        if self.is_stopped:
            return ""
        text = self._held + text
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        kept = max((_overlap(text, sequence) for sequence in self._stop), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What was held back and turned out to be no stop sequence; after the last piece."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, sequence: str) -> int:
    """Length of the longest end of `text` that `sequence` begins with."""
    longest = min(len(text), len(sequence) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(sequence[:length])), 0)
