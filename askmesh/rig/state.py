"""What a running `askmesh rig up` leaves for other commands: its servers' settings, in a file only this user can read.

Rule 1: secrets pass by this file, never by a command line, which every process of the machine can read.
Rule 2: the writer locks the file as long as its servers run; what nobody locks was left by one that was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

Settings = Mapping[str, Mapping[str, str]]  # of each member, by its name

LOCK_TRIES = 10  # a reader holds the lock for microseconds
LOCK_PAUSE_S = 0.05


def state_file() -> Path:
    """$XDG_RUNTIME_DIR/askmesh/rig.json; where there is no such folder, $XDG_STATE_HOME's or ~/.local/state's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and Path(runtime).is_dir():
        return Path(runtime) / "askmesh" / "rig.json"
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "askmesh" / "rig.json"


@contextmanager
def published(settings: Settings) -> Iterator[bool]:
    """Others find the settings while this is open; False when another rig's are there, which stay."""
    file = state_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as opened:
        if not _locked(opened):
            yield False
            return
        os.fchmod(opened.fileno(), 0o600)  # whoever made the file
        _write(opened, json.dumps(settings))
        try:
            yield True
        finally:
            _write(opened, "")  # not removed: another might wait for the lock of the removed one


def found() -> Settings:
    """The settings of the rig that runs, by member; none when none does."""
    with suppress(OSError), state_file().open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            members: Settings = json.loads(opened.read() or "{}")  # empty: it is just stopping
            return members
    return {}


def _locked(file: TextIO) -> bool:
    for _ in range(LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(LOCK_PAUSE_S)
    return False


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.write(text)
    file.truncate()
    file.flush()
