"""The mirror's store as a model on a clock that only a test moves; and as steps that a test takes one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chassis.mirror import MARK_S, TTL_S, Reading


@dataclass
class Model:
    """One name's value, token and marks, each with the time it ends."""

    now: float = 0.0
    ttl_s: float = TTL_S
    mark_s: float = MARK_S
    value: tuple[bytes, float] | None = None
    token: tuple[str, float] | None = None
    marks: set[str] = field(default_factory=set)
    marks_end: float = 0.0

    def read(self, name, token):
        self._expire()
        if self.value is not None:
            return Reading(self.value[0])
        if self.marks or self.token is not None:
            return Reading(None)
        self.token = (token, self.now + self.ttl_s)
        return Reading(None, is_filler=True)

    def fill(self, name, token, value):
        self._expire()
        if self.token is None or self.token[0] != token or self.marks:
            return False
        self.value, self.token = (value, self.token[1]), None
        return True

    def begin(self, name, mark):
        self._expire()
        self.value = self.token = None
        self.marks.add(mark)
        self.marks_end = self.now + self.mark_s

    def end(self, name, mark):
        self._expire()
        self.value = self.token = None
        self.marks.discard(mark)

    def flush(self):
        self.value = self.token = None
        self.marks.clear()

    def holds_something(self):
        return self.value is not None or self.token is not None or bool(self.marks)

    def _expire(self):
        if self.value is not None and self.value[1] <= self.now:
            self.value = None
        if self.token is not None and self.token[1] <= self.now:
            self.token = None
        if self.marks_end <= self.now:
            self.marks.clear()


@dataclass(frozen=True)
class Step:
    """What a coroutine waits for: the test does it, or does not."""

    kind: str
    arguments: tuple[Any, ...] = ()

    def __await__(self):
        return (yield self)


class SteppedStore:
    """A MirrorStore of which every call is a Step."""

    async def read(self, *arguments):
        return await Step("read", arguments)

    async def fill(self, *arguments):
        return await Step("fill", arguments)

    async def begin(self, *arguments):
        return await Step("begin", arguments)

    async def end(self, *arguments):
        return await Step("end", arguments)
