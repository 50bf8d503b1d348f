"""Where files are: a path of this machine, or a URL that fsspec knows (s3://, gs://, memory://, ...).

Object stores are an extra (`pip install askmesh[objects]`); their clients are loaded when a URL asks for
them. Credentials and endpoints come from where they always do (environment, ~/.aws, the node's identity).
"""

from __future__ import annotations

import gzip
import os
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chassis.errors import DocumentUnreadable, InvalidRequest

BLOCK_BYTES = 8 << 20  # read ahead and written at a time on an object store; s3 takes no less than 5 MiB a part
PART_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class Found:
    """A file below a root.

    Attributes:
        place: Its path or URL.
        below: Its path below the root, with slashes.
        etag: Another one when the content is: the store's own, or time and size on a disk.
    """

    place: str
    below: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Place:
    """One file, by path or URL."""

    name: str

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file, opened for reading. Raises OSError."""
        assert mode == "rb", "there is open_write for the rest"
        if not is_url(self.name):
            return Path(self.name).open("rb")
        with _as_os_error():
            filesystem, path = _filesystem(self.name)
            opened: IO[bytes] = filesystem.open(path, "rb", block_size=BLOCK_BYTES)
            return opened

    def first(self, count: int) -> bytes:
        """Its first bytes; of 0 it is seen that it can be opened. Raises OSError."""
        with _as_os_error(), self.open() as file:
            return file.read(count) if count else b""


def is_url(name: str) -> bool:
    """Whether fsspec is asked; "file://..." too."""
    return "://" in name


def below(place: str, name: str) -> str:
    """The place of a name in a folder or under a URL's prefix."""
    return f"{place.rstrip('/')}/{name}" if is_url(place) else str(Path(place) / name)


def found_below(root: str) -> Iterator[Found]:
    """Every file below a folder or URL (or the one file), sorted by path. Raises OSError."""
    yield from _on_store(root) if is_url(root) else _on_disk(Path(root))


@contextmanager
def open_read(name: str) -> Iterator[IO[bytes]]:
    """Read a file; one whose name ends in .gz is unpacked."""
    with readable(name), Place(name).open() as raw:
        if not name.endswith(".gz"):
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield unpacked  # type: ignore[misc]  # a GzipFile reads bytes as any


@contextmanager
def open_write(name: str) -> Iterator[IO[bytes]]:
    """Write a file that is there whole when the block is left, and not at all when it fails; .gz is packed."""
    with _writable(name), _whole(name) as raw:
        if not name.endswith(".gz"):
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed:
            yield packed  # type: ignore[misc]  # as above


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Around the reading of a file that the caller named: what goes wrong is said, without the driver's words."""
    try:
        with _as_os_error():
            yield
    except FileNotFoundError:
        raise DocumentUnreadable(f"{name}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as exc:  # a damaged .gz is any of them, by where the damage is
        raise DocumentUnreadable(f"{name}: cannot be read; check the name, the credentials and the file") from exc


@contextmanager
def _writable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InvalidRequest(f"{name}: cannot be written; check the name, the credentials and the space") from exc


@contextmanager
def _whole(name: str) -> Iterator[IO[bytes]]:
    if not is_url(name):
        part = Path(name + PART_SUFFIX)
        try:
            with part.open("wb") as file:
                yield file
            part.replace(name)
        finally:
            part.unlink(missing_ok=True)
        return
    with _as_os_error():
        filesystem, path = _filesystem(name)
        file = filesystem.open(path, "wb", block_size=BLOCK_BYTES, autocommit=False)
        try:
            yield file
            file.close()
            file.commit()
        except BaseException:
            with suppress(OSError):
                file.close()
            file.discard()  # an upload in parts is called off: nothing becomes visible
            raise


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        import fsspec  # noqa: PLC0415  # an extra

        # Which versions Google's clients will want next year concerns whoever pins them, not who ingests a bucket.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
        filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as exc:
        raise InvalidRequest(f"{url.partition('://')[0]}:// needs `pip install askmesh[objects]`") from exc
    except ValueError as exc:
        raise InvalidRequest(f"{url.partition('://')[0]}:// is no kind of URL that is known here") from exc
    return filesystem, path


@contextmanager
def _as_os_error() -> Iterator[None]:
    """What an object store's client raises beside OSError (no credentials, no endpoint) is one."""
    try:
        yield
    except _client_errors() as exc:
        raise OSError("the object store's client failed") from exc


def _client_errors() -> tuple[type[Exception], ...]:
    """Those of the clients that are loaded."""
    named = (("botocore.exceptions", "BotoCoreError"), ("google.auth.exceptions", "GoogleAuthError"))
    loaded = ((sys.modules.get(module), name) for module, name in named)
    return tuple(getattr(module, name) for module, name in loaded if module is not None)


def _on_disk(root: Path) -> Iterator[Found]:
    if not root.exists():
        raise FileNotFoundError(root)
    if root.is_file():
        yield _file(root, root.name)
        return
    for folder, folders, names in os.walk(root):
        folders.sort()  # the walk goes on in this order
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield _file(path, path.relative_to(root).as_posix())


def _file(path: Path, own: str) -> Found:
    status = path.stat()
    return Found(str(path), own, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}")


def _on_store(root: str) -> Iterator[Found]:
    """Folder by folder, so that memory holds one folder's names and not the store's."""
    with _as_os_error():
        filesystem, path = _filesystem(root)
        if filesystem.isfile(path):
            yield _object(root, path, path.rpartition("/")[2], filesystem.info(path))
            return
        is_empty = True
        for folder, folders, files in filesystem.walk(path, detail=True):
            for name in sorted(folders):
                folders[name] = folders.pop(name)  # the walk goes on in this order
            for name in sorted(files):
                is_empty = False
                full = f"{folder.rstrip('/')}/{name}"
                yield _object(root, full, full.removeprefix(path).lstrip("/"), files[name])
        if is_empty:
            raise FileNotFoundError(root)


def _object(root: str, path: str, own: str, info: Mapping[str, Any]) -> Found:
    etag = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("mtime") or "")
    return Found(f"{root.partition('://')[0]}://{path.lstrip('/')}", own, int(info["size"] or 0), etag.strip('"'))
