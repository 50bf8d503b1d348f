"""The images, built here without an engine: buildah runs deploy/images/Containerfile, bubblewrap boots the results.

Layers are kept in the rig's cache, so a second run builds only what has changed. One process at a time uses them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmesh.rig import images
from tests.rig import missing

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("gateway", "orchestrator", "retriever", "ingest")
DEBIAN = "localhost/debian-tools"
BUILD_LIMIT_S = 1_800  # two busy cores and a cold cache; alone it takes 100 s
MAX_STORE_BYTES = 12 << 30  # layers of old commits; past this everything is built anew


@dataclass(frozen=True)
class Store:
    """buildah with a storage of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "ENGINE": "buildah",
            "REGISTRY": "localhost",
            "TAG": "test",
        }

    def buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    def build(self, *targets: str, debian: str = DEBIAN, options: str = "") -> None:
        """deploy/scripts/build.sh, as `make build` runs it; only the Debian to build in is ours."""
        done = subprocess.run(
            ["deploy/scripts/build.sh", *targets],
            env={**self.environment, "BUILD_ARGS": f"--build-arg DEBIAN_IMAGE={debian} {options}"},
            cwd=ROOT, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", image))
        return found

    @contextmanager
    def root(self, image: str) -> Iterator[Path]:
        """The image's file system, mounted."""
        container = self.buildah("from", image)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)


@contextmanager
def opened() -> Iterator[Store]:
    """The store, with a Debian in it."""
    home = images.find()
    if home is None:
        missing("images", "run `make rig ARGS=images`")
    if os.geteuid() != 0:
        missing("the right to mount images", "run the tests as root")
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = Store(home / "store")
        _prepare(store, home)
        yield store


def _prepare(store: Store, home: Path) -> None:
    if store.folder.exists() and (_bytes(store.folder) > MAX_STORE_BYTES or not _is_whole(store)):
        _clear(store.folder)
    store.folder.mkdir(exist_ok=True)
    (store.folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{store.folder}/graph"\nrunroot = "{store.folder}/run"\n'
    )
    store.buildah("rm", "--all")  # of runs that were killed; the lock says that nobody uses them
    if DEBIAN not in store.buildah("images", "--format", "{{.Name}}").split():
        container = store.buildah("from", "scratch")
        store.buildah("add", "-q", container, str(home / images.DEBIAN), "/")
        store.buildah("commit", "-q", "--rm", container, DEBIAN)


def _clear(folder: Path) -> None:
    """Take the store away, and first what a killed run left mounted in it."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((each for each in mounted if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", place], check=True)
    shutil.rmtree(folder)


def _is_whole(store: Store) -> bool:
    """Whether its Debian can be built from: one who was killed in the middle of a step may have left half a layer."""
    if not (store.folder / "storage.conf").exists():
        return False
    begun = subprocess.run(
        ["buildah", "from", "--pull=never", DEBIAN],
        env=store.environment, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
    )  # fmt: skip
    if begun.returncode == 0:
        store.buildah("rm", begun.stdout.strip())
    return begun.returncode == 0


def _bytes(folder: Path) -> int:
    done = subprocess.run(["du", "-sbx", str(folder)], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) if done.stdout else 0


def contents(root: Path) -> Mapping[str, str]:
    """Every path with its kind, mode, owner and content: what two builds must have alike."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            status = path.lstat()
            if path.is_symlink():
                held = f"-> {path.readlink()}"
            else:
                held = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(root))] = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {held}"
    return found
