"""Weaviate's failures as ours. Nothing outside this package sees a gRPC or HTTP exception of it, nor its text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import httpx

from chassis.errors import DeadlineExceeded, RagError, SearchUnavailable, StorageFull

PLACE: Final = "dense search"
RETRY_S: Final = 1.0  # a restarted Weaviate answers after 3 to 10 s; a lost connection is back in .5 s
# How Weaviate says that it takes no more: a shard turned read-only at DISK_USE_READONLY_PERCENTAGE or
# MEMORY_READONLY_PERCENTAGE, or the file system refused. It has no code for them.
_FULL: Final = ("read-only", "readonly", "no space left", "not enough memory", "disk quota")


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the clients raise as ours."""
    try:
        yield
    except grpc.aio.AioRpcError as exc:
        raise _of_rpc(exc) from exc
    except httpx.TimeoutException as exc:
        raise DeadlineExceeded(f"{PLACE}: no answer in time") from exc
    except httpx.HTTPError as exc:
        raise unreachable() from exc


def _of_rpc(exc: grpc.aio.AioRpcError) -> RagError:
    match exc.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"{PLACE}: no answer in time")
        case grpc.StatusCode.UNAVAILABLE:
            return unreachable()
        case _:
            return refused(exc.details() or "")


class Unreachable(SearchUnavailable):
    """Nobody there; whether the call was carried out is not known."""


def is_lost(error: BaseException) -> bool:
    """Whether the same call, which may be made twice, can find somebody a moment later. A refusal stays one."""
    return isinstance(error, Unreachable)


def unreachable() -> Unreachable:
    return Unreachable(f"{PLACE}: the store cannot be reached", retry_after_s=RETRY_S)


def refused(text: str) -> SearchUnavailable | StorageFull:
    """What a refusal with this text means; the text itself goes no further."""
    if any(sign in text.lower() for sign in _FULL):
        return StorageFull(f"{PLACE}: the store takes no more; what was acknowledged is kept")
    return SearchUnavailable(f"{PLACE}: the store refused")
