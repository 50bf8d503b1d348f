"""An archive out, piece by piece as the server asks: nothing is sent unasked, so every error arrives as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from rag.retriever.v1 import backup_pb2 as pb

from askmesh.documents import Collection


class Import:
    """One import stream.

    Args:
        target: Where the archive goes.
        data: Its pieces, at most 1 MiB each; read in a thread, since they may come over a network.
    """

    def __init__(self, target: pb.ImportTarget, data: Iterable[bytes]) -> None:
        self._target = target
        self._pieces = iter(data)
        self._wanted = asyncio.Semaphore(0)
        self._error: Exception | None = None

    async def requests(self) -> AsyncIterator[pb.ImportCollectionRequest]:
        """What goes out. gRPC takes an error in here for a cancel and hides it: `results` raises it."""
        yield pb.ImportCollectionRequest(target=self._target)
        try:
            while True:
                await self._wanted.acquire()
                piece = await asyncio.to_thread(next, self._pieces, None)
                if piece is None:
                    return
                yield pb.ImportCollectionRequest(data=piece)
        except Exception as error:  # the caller's own iterator may raise anything, and must see it
            self._error = error
            raise

    async def results(
        self, responses: AsyncIterable[pb.ImportCollectionResponse]
    ) -> AsyncIterator[pb.ImportProgress | Collection]:
        """Progress, and at last the collection."""
        try:
            async for response in responses:
                if response.WhichOneof("event") == "progress":
                    self._wanted.release()
                    yield response.progress
                else:
                    yield response.collection
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
