"""What a document went through, and which answers a reader may then get: the judge of the kill campaigns. Pure.

Each document's states come one after another: absent (0), version 1, 2, 3, deleted (4), version 5, ... A write to the
next state begins, is repeated until it is acknowledged, and only then the next one begins.

Rule 1: an answer shows one state, whole: every part of one version, or nothing where a state shows nothing.
Rule 2: it is none that was passed when the read began: acknowledged, or seen by a read that had ended.
Rule 3: it is none whose write had not begun when the read ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PARTS: Final = 3  # of each version, each a chunk of its own
DELETED_EVERY: Final = 4
_SENTENCE: Final = re.compile(r"Document (\S+) in version (\d+) says in part (\d+)")


def is_shown(state: int) -> bool:
    return state > 0 and state % DELETED_EVERY != 0


def text_of(document_id: str, state: int) -> str:
    """Three sections, each long enough for a chunk, in which every sentence says whose it is."""
    return "\n\n".join(
        f"# Part {part}\n\n" + f"Document {document_id} in version {state} says in part {part} what a word means. " * 6
        for part in range(1, PARTS + 1)
    )


class Violation(AssertionError):
    """A reader saw half a commit, a ghost or a loss."""


@dataclass
class History:
    """One document.

    Attributes:
        begun: The latest state a write was started for.
        acknowledged: The latest one that was acknowledged.
        seen: The earliest state that no later read may fall behind.
    """

    document_id: str
    begun: int = 0
    acknowledged: int = 0
    seen: int = 0
    shown: int = 0  # answers that held a version
    missing: int = 0  # answers that held none

    def floor(self) -> int:
        """For a read that begins now."""
        return max(self.acknowledged, self.seen)

    def judge(self, texts: Iterable[str], floor: int, *, is_old: bool = False) -> None:
        """An answer of a read that has just ended.

        Args:
            texts: Of the chunks found, in any order.
            floor: Of when it began.
            is_old: It says that it is of an older snapshot, since the catalogue is down: that may be passed.
        Raises:
            Violation.
        """
        floor = 0 if is_old else floor
        found = {(name, int(version), int(part)) for text in texts for name, version, part in _SENTENCE.findall(text)}
        if {name for name, _, _ in found} - {self.document_id}:
            raise Violation(f"{self.document_id}: another document's text: {sorted(found)}")
        versions = {version for _, version, _ in found}
        if not versions:
            self._note(self._missing(floor), is_old=is_old)
            self.missing += 1
            return
        if len(versions) > 1 or len(found) != PARTS:
            raise Violation(f"{self.document_id}: half a commit: {sorted(found)}")
        [version] = versions
        if not (floor <= version <= self.begun and is_shown(version)):
            raise Violation(f"{self.document_id}: a ghost: {version}, allowed {floor} to {self.begun}")
        self._note(version, is_old=is_old)
        self.shown += 1

    def _note(self, state: int, *, is_old: bool) -> None:
        self.seen = self.seen if is_old else max(self.seen, state)

    def _missing(self, floor: int) -> int:
        """The earliest state that an answer without any version can be."""
        empty = [state for state in range(floor, self.begun + 1) if not is_shown(state)]
        if not empty:
            raise Violation(f"{self.document_id}: a loss: nothing, allowed {floor} to {self.begun}")
        return empty[0]
