"""OpenSearch's failures as ours. Nothing outside this package sees an exception of the client, nor its text."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opensearchpy import exceptions as client

from chassis.errors import BackendUnavailable, Conflict, DeadlineExceeded, RagError, StorageFull

NOT_FOUND: Final = 404
TOO_MANY: Final = 429
_BUSY_RETRY_S: Final = 0.1  # the server's queues empty within this
# What a disk over its flood stage, or full, is called in the server's answers.
_FULL: Final = ("flood-stage", "read_only_allow_delete", "read-only / allow delete", "no space left on device")
_CROWDED: Final = "shards, but this cluster currently has"  # cluster.max_shards_per_node, times the nodes
_BLOCKED: Final = "index write (api)"  # how an index that was closed for writing says so
_MIGRATION_RETRY_S: Final = 1.0  # an index's last step takes about that long
_TAKEN: Final = "resource_already_exists_exception"


class Absent(Exception):  # an answer of the server, handled inside this package
    """There is no such document."""


class IndexAbsent(Absent):
    """There is no such index or alias."""


@contextmanager
def translated(failure: type[BackendUnavailable], place: str) -> Iterator[None]:
    """Raise what the client raises as `failure` or something narrower, with the place prepended."""
    try:
        yield
    except client.ConnectionTimeout as exc:
        raise DeadlineExceeded(f"{place}: the store did not answer in time") from exc
    except client.ConnectionError as exc:
        if isinstance(exc.info, ssl.SSLError):
            raise failure(
                f"{place}: the store's certificate is not trusted; see ASKMESH_RETRIEVER_STORES_CA_FILE"
            ) from exc
        raise failure(f"{place}: the store cannot be reached") from exc
    except client.TransportError as exc:
        raise refusal(int(exc.status_code), str(exc.info), failure, place) from exc
    except client.OpenSearchException as exc:
        raise failure(f"{place}: the store answered with something unreadable") from exc


def require_present(answer: object) -> None:
    """Raise what an answer of 404 means; nothing when it is another."""
    if not isinstance(answer, dict):
        return
    if answer.get("status") == NOT_FOUND and "error" in answer:
        raise IndexAbsent
    if answer.get("found") is False or answer.get("result") == "not_found":
        raise Absent


def refusal(status: int, text: str, failure: type[BackendUnavailable], place: str) -> RagError:
    """What an HTTP status and the server's explanation mean, for a request or for one line of a bulk request."""
    lowered = text.lower()
    if any(phrase in lowered for phrase in _FULL):
        return StorageFull(f"{place}: the store's disk is full; what was acknowledged is kept")
    if _CROWDED in lowered:
        return StorageFull(
            f"{place}: the store has as many shards as it may, so no collection can be made: delete some, add a node, "
            "or raise its cluster.max_shards_per_node"
        )
    if status == 409 or _TAKEN in lowered:
        return Conflict(f"{place}: another writer was faster; try again")
    if status == TOO_MANY:
        return failure(f"{place}: the store is busy; try again", retry_after_s=_BUSY_RETRY_S)
    if _BLOCKED in lowered:
        return failure(f"{place}: the store's layout is being migrated; try again", retry_after_s=_MIGRATION_RETRY_S)
    if status in {401, 403}:
        return failure(f"{place}: the store refuses our credentials")
    return failure(f"{place}: the store failed")
