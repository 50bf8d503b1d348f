"""A mirror of a value that others commit, in a store that may fail: never older than an acknowledged commit.

Readers ask the mirror first; who finds it empty reads the source and may fill it. Committers change the source.

Rule 1: a filler takes a token before it reads the source, and may write only while its token stands. Tokens live
        TTL_S, and what is written dies when its token would have: never later than TTL_S after the source was read.
Rule 2: a committer ends by deleting value and token, after the source changed and before it acknowledges. Whoever read
        the source before the change then has no token, however late its write arrives; who takes one reads the change.
Rule 3: where that end fails, the committer waits until every token of before is dead, and only then acknowledges.
Rule 4: a committer begins by marking the name and deleting value and token; no token is given while a mark stands. This
        is not needed for rule 2: while nothing fails, it keeps even unacknowledged commits from being passed.

So a lost, late or repeated message, a flushed store and a store that only committers cannot reach cost time, never the
order of what is seen. tests/unit/chassis/test_mirror.py drives this very code through such faults.

Filling is the committers' too: a reader hands its token to whoever it asks for the source, and that process fills. So
nothing is ever mirrored of a source whose committers keep no mirror, or keep it in another store.

Does not: survive a store that forgets what it had acknowledged and keeps what it had forgotten (a replica that is
promoted with an old value) within TTL_S, or a store whose clock steps back. Sealed values (chassis.sealed_mirror) bound
both to a few seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from chassis.errors import BackendUnavailable

TTL_S: Final = 2.0  # what an acknowledgement waits at most while the store is down
# Clocks of two machines run apart by far less; a message sent last thing may still be executed at once, not later.
WAIT_S: Final = TTL_S * 1.05
# A commit takes milliseconds. One that takes longer loses rule 4, not rule 2; one that dies blocks the mirror so long.
MARK_S: Final = 10.0


class MirrorUnavailable(BackendUnavailable):
    """The store did not answer; what was asked of it may be done, undone or be done later. Leaves no service."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The value; without one, whether the asker's token stands now."""

    value: bytes | None
    is_filler: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The value; without one, the token to have it filled under ("": somebody else fills, or nobody can)."""

    value: bytes | None = None
    token: str = ""


class MirrorStore(Protocol):
    """Each method is one step that nothing comes between. All raise MirrorUnavailable."""

    async def read(self, name: str, token: str) -> Reading:
        """The value; without one the token is taken, unless another stands or a mark does."""
        ...

    async def fill(self, name: str, token: str, value: bytes) -> bool:
        """Write the value for the rest of the token's life, if it stands and no mark does; whether it was written."""
        ...

    async def begin(self, name: str, mark: str) -> None:
        """Set the mark; delete value and token."""
        ...

    async def end(self, name: str, mark: str) -> None:
        """Remove the mark; delete value and token."""
        ...


def mirror_name(tenant: str, collection: str) -> str:
    """What a collection's snapshot is kept under; tenants' own words stay out of the store."""
    return hashlib.sha256(json.dumps([tenant, collection]).encode()).hexdigest()


class Mirror:
    """The sides of the protocol: `read` and `hand_back` for readers; `fill` and `committing` for who has the source.

    Args:
        sleep: Waits seconds on a monotonic clock.
    """

    def __init__(self, store: MirrorStore, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._store = store
        self._sleep = sleep

    async def read(self, name: str) -> Found:
        """The value: never one that a commit had passed which was acknowledged before this call began.

        Raises:
            MirrorUnavailable: read the source.
        """
        token = uuid.uuid4().hex
        reading = await self._store.read(name, token)
        return Found(reading.value, token if reading.is_filler else "")

    async def fill(self, name: str, token: str, value: bytes) -> bool:
        """Mirror what was read from the source after `token` was taken; whether that was done."""
        try:
            return await self._store.fill(name, token, value)
        except MirrorUnavailable:
            return False

    async def hand_back(self, name: str) -> None:
        """After a token was taken and nobody filled: the next reader takes its own instead of waiting for its end.

        It only deletes, as committers do, which is always safe.
        """
        with suppress(MirrorUnavailable):
            await self._store.end(name, uuid.uuid4().hex)

    @asynccontextmanager
    async def committing(self, name: str) -> AsyncIterator[None]:
        """Around the change of the source. Left normally, it may be acknowledged; that can take WAIT_S."""
        mark = uuid.uuid4().hex
        with suppress(MirrorUnavailable):
            await self._store.begin(name, mark)
        has_ended = False
        try:
            yield
        finally:
            with suppress(MirrorUnavailable):
                await self._store.end(name, mark)
                has_ended = True
        if not has_ended:
            await self._sleep(WAIT_S)
