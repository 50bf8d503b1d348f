"""`make bench ARGS=bulk`: bulk ingestion by shards: documents a second, and that memory does not grow with the corpus.

For each set of stores, size and number of shards a retriever of its own is filled through `askmesh ingest --manifest`,
one process a shard, all on this machine: shards share one embedder here, so that more of them are not faster; what they
cost and hold is what is shown. Memory is the most each process ever held (VmHWM). Exits with 1 when the shards' grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from askmesh.client import AsyncClient
from askmesh.manifest import entries_below
from askmesh.rig.cluster import running_cluster
from bench.speed import corpus

CHUNKS_A_DOCUMENT: Final = 16  # of bench.speed.corpus; what was really stored is counted afterwards
# Between the smallest and the largest corpus: two blocks read ahead. 2,500 more documents of 9 KB, were they held,
# would be 22 MiB.
MAX_GROWTH_MIB: Final = 16.0
SETTLED_S: Final = 30.0
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Filled:
    """What one filling showed."""

    stores: str
    shards: int
    documents: int
    chunks: int
    seconds: float
    shard_mib: float
    server_mib: float
    failed: int

    @property
    def documents_per_s(self) -> float:
        return self.documents / self.seconds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench bulk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stores", choices=["embedded", "cluster"], nargs="+", default=["embedded", "cluster"])
    parser.add_argument("--embedder", choices=["onnx", "none"], default="onnx", help="none: what is left without it")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args(arguments)
    rows = asyncio.run(_run(options))
    if options.output == "json":
        print(json.dumps([{name: getattr(row, name) for name in Filled.__slots__} for row in rows], indent=2))
    grown = [group for group in _groups(rows) if not _is_flat(group)]
    return 1 if grown or any(row.failed for row in rows) else 0


async def _run(options: argparse.Namespace) -> list[Filled]:
    rows = []
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, embedder {options.embedder}", flush=True)
    print("stores    shards documents  chunks       s  docs/s chunks/s  peak MiB: shard server")
    for chunks in options.chunks:
        with tempfile.TemporaryDirectory(prefix="askmesh-bulk-") as scratch:
            manifest = await asyncio.to_thread(_written, Path(scratch), chunks // CHUNKS_A_DOCUMENT)
            for stores in options.stores:
                for shards in options.shards:
                    row = await _filled(Path(scratch), manifest, stores, shards=shards, embedder=options.embedder)
                    print(_line(row), flush=True)
                    rows.append(row)
    return rows


def _written(folder: Path, count: int) -> Path:
    """The corpus as files, and their manifest."""
    root = folder / "corpus"
    root.mkdir()
    for _, document in zip(range(count), corpus.documents(), strict=False):
        assert isinstance(document.data, str)
        (root / document.document_id).write_text(document.data, "utf-8")
    manifest = folder / "manifest.jsonl"
    with manifest.open("w") as file:
        file.writelines(f"{entry.line}\n" for entry in entries_below(str(root)))
    return manifest


async def _filled(scratch: Path, manifest: Path, stores: str, *, shards: int, embedder: str) -> Filled:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        async with _settings(folder, stores) as settings, _serving(folder, settings, embedder) as (pid, address):
            started = time.perf_counter()
            options = ["--manifest", str(manifest), "--report", str(folder), "-c", "bulk", "--target", address]
            numbers = [f"{index}/{shards}" for index in range(shards)]
            peaks = await asyncio.gather(*(_watched(["ingest", *options, "--shard", each]) for each in numbers))
            seconds = time.perf_counter() - started
            failed = await asyncio.to_thread(_failed, folder)
            async with AsyncClient(address, collection="bulk", timeout_s=SETTLED_S) as client:
                [held] = [each async for each in client.collections()]
            return Filled(
                stores=stores,
                shards=shards,
                documents=held.document_count,
                chunks=held.chunk_count,
                seconds=seconds,
                shard_mib=max(peaks),
                server_mib=_peak_mib(pid),
                failed=failed,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _settings(folder: Path, stores: str) -> AsyncIterator[Mapping[str, str]]:
    if stores == "embedded":
        yield {}
        return
    async with running_cluster(folder / "rig", ("opensearch", "weaviate")) as cluster:
        yield cluster.settings


@asynccontextmanager
async def _serving(folder: Path, settings: Mapping[str, str], embedder: str) -> AsyncIterator[tuple[int, str]]:
    environment = {
        **os.environ,
        **settings,
        "ASKMESH_RETRIEVER_LISTEN": "127.0.0.1:0",
        "ASKMESH_RETRIEVER_DATA_FOLDER": str(folder / "data"),
        "ASKMESH_RETRIEVER_EMBEDDER": embedder,
        "ASKMESH_RETRIEVER_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "askmesh", "serve", "retriever"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        while not (found := re.search(rb"serves at (\S+)", line := await process.stderr.readline())):
            assert line, "the retriever did not start"
        yield process.pid, found[1].decode()
    finally:
        process.terminate()
        await process.communicate()


async def _watched(arguments: Sequence[str]) -> float:
    """Run a command of askmesh; the most memory it held, in MiB."""
    peak = 0.0
    command = [sys.executable, "-m", "askmesh", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    while process.returncode is None:
        peak = max(peak, _peak_mib(process.pid))
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), POLL_S)
    return peak


def _failed(folder: Path) -> int:
    """Documents that failed, over all shards."""
    return sum(json.loads(each.read_text())["failed"] for each in folder.glob("shard-*.json"))


def _peak_mib(pid: int) -> float:
    """VmHWM; 0 for a process that has just ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _groups(rows: Sequence[Filled]) -> list[list[Filled]]:
    """Rows that differ in size only."""
    keys = dict.fromkeys((row.stores, row.shards) for row in rows)
    return [[row for row in rows if (row.stores, row.shards) == key] for key in keys]


def _is_flat(rows: Sequence[Filled]) -> bool:
    """Says how memory grew from the smallest to the largest corpus."""
    if len(rows) < 2:
        return True
    small, large = rows[0], rows[-1]
    more = large.documents - small.documents
    shard_mib, server_mib = large.shard_mib - small.shard_mib, large.server_mib - small.server_mib
    is_flat = shard_mib <= MAX_GROWTH_MIB
    print(
        f"{small.stores}, {small.shards} shards, over {more} more documents: {shard_mib:+.1f} MiB in the shard "
        f"({1024 * shard_mib / more:+.2f} KiB a document, {'flat' if is_flat else 'GROWS'}), "
        f"{server_mib:+.1f} in the server ({1024 * server_mib / more:+.2f})"
    )
    return is_flat


def _line(row: Filled) -> str:
    return (
        f"{row.stores:9} {row.shards:6} {row.documents:9} {row.chunks:7} {row.seconds:7.1f} {row.documents_per_s:7.2f} "
        f"{row.chunks / row.seconds:8.1f}            {row.shard_mib:5.0f} {row.server_mib:6.0f}"
    )
