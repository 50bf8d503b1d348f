"""The data folder's lock: one process at a time, taken before anything in the folder is opened."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis.errors import DataFolderLocked, StorageFull

LOCK_NAME: Final = "lock"  # stays behind: removing a lock file lets two processes lock two different files
OWNER_ONLY: Final = 0o700  # documents may be confidential


@contextmanager
def locked_folder(folder: Path) -> Iterator[Path]:
    """Hold the folder, made if need be, for this process alone; the system lets go of it when the process dies.

    Raises:
        DataFolderLocked: another process (or another opening in this one) holds it.
        StorageFull: the folder cannot be made or written.
    """
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StorageFull("the data folder cannot be written: check its path, its rights and the disk") from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            message = "another askmesh process is using this data folder: stop it, or name another folder"
            raise DataFolderLocked(message) from exc
        yield folder
    finally:
        os.close(lock)
