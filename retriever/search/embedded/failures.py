"""SQLite's failures as ours. Nothing outside this package sees a sqlite3 exception, nor its text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chassis.errors import BackendUnavailable, DeadlineExceeded, StorageFull

_PRIMARY: Final = 0xFF  # an extended result code holds its primary one in the low byte (sqlite.org/rescode.html)
_BUSY_RETRY_S: Final = 0.1  # another connection's transaction lasts milliseconds
_WRITE_FAILED: Final = frozenset(
    {  # what a full disk or an exhausted quota looks like when it is not SQLITE_FULL
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)


@contextmanager
def translated(failure: type[BackendUnavailable], place: str) -> Iterator[None]:
    """Raise what SQLite raises as `failure` or something narrower, with the place prepended."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(exc, failure, place) from exc


def _translate(
    exc: sqlite3.Error, failure: type[BackendUnavailable], place: str
) -> BackendUnavailable | DeadlineExceeded:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code in _WRITE_FAILED:
        return StorageFull(f"{place}: the disk is full or refuses writes; what was acknowledged is kept")
    match code & _PRIMARY:
        case sqlite3.SQLITE_FULL:
            return StorageFull(f"{place}: the disk is full; what was acknowledged is kept")
        case sqlite3.SQLITE_INTERRUPT:
            return DeadlineExceeded(f"{place}: the deadline passed")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return failure(f"{place}: the store is busy; try again", retry_after_s=_BUSY_RETRY_S)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return failure(f"{place}: the store's file is damaged; restore the data folder or ingest again")
        case _:
            return failure(f"{place}: the store failed")
