"""Bulk ingestion and archives by the command line, with real processes, some of them killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from askmesh import Client, exits
from chassis.errors import BackendUnavailable, CollectionNotFound
from tests.system.test_serve import serve

pytestmark = pytest.mark.timeout(300)  # a dozen processes start in each; on a quiet machine that takes seconds
LIMIT_S = 60.0  # for what takes a second on a machine that is not loaded
DOCUMENTS = 36


@pytest.fixture
def folder(tmp_path):
    """Documents of two to four chunks."""
    root = tmp_path / "docs"
    for number in range(DOCUMENTS):
        path = root / f"{number % 7}" / f"page{number:03}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = (f"## Part {part}\n\n" + f"Page {number} says what word{number}x{part} is. " * 30 for part in range(3))
        path.write_text(f"# Page {number}\n\n" + "\n\n".join(parts))
    return root


@contextmanager
def retriever(data: Path, sockets: Path, *, embedder: str = "none") -> Iterator[Any]:
    """Without an embedder unless vectors are what is looked at: most of the time would go into them."""
    served = serve(
        "retriever",
        ASKMESH_RETRIEVER_LISTEN=f"unix:{sockets / 'r.sock'}",
        ASKMESH_RETRIEVER_DATA_FOLDER=str(data),
        ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS="5000",
        ASKMESH_RETRIEVER_EMBEDDER=embedder,
    )
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()
        served.process.stderr.close()


@pytest.fixture
def server(tmp_path, short_folder):
    with retriever(tmp_path / "data", short_folder) as served:
        yield served


@pytest.fixture
def short_folder(tmp_path_factory):
    """Names of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="askmesh-") as made:
        yield Path(made)


def start(served, *arguments, **environment) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "askmesh", *arguments, "--target", served.address]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})


def run(served, *arguments, code=0, **environment) -> str:
    process = start(served, *arguments, **environment)
    said, errors = process.communicate(timeout=LIMIT_S * 2)
    assert process.returncode == code, errors
    return said


def make_manifest(root, file, **environment) -> Path:
    command = [sys.executable, "-m", "askmesh", "ingest", "manifest", str(root)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    file.write_text(made.stdout)
    return Path(file)


def until(condition) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        threading.Event().wait(0.02)


def found(client: Client, query: str, collection: str) -> list[tuple[Any, ...]]:
    response = client.search(query, collection=collection, top_k=20, timeout_s=LIMIT_S)
    return [
        (each.document_id, each.start_char, each.end_char, each.text, each.section, round(each.dense.score, 4))
        for each in response.passages
    ]


def test_shards_together_store_every_document_once_and_report_each(server, folder, tmp_path):
    (folder / "broken.pdf").write_bytes(b"no PDF at all")
    manifest = make_manifest(folder, tmp_path / "manifest.jsonl")
    reports = []
    for index in range(3):
        process = start(
            server, "ingest", "--manifest", str(manifest), "--shard", "/3", "--report", str(tmp_path), "-c", "bulk",
            JOB_COMPLETION_INDEX=str(index),
        )  # fmt: skip
        _, errors = process.communicate(timeout=LIMIT_S * 2)
        reports.append(json.loads((tmp_path / f"shard-{index}-of-3.json").read_text()))
        assert process.returncode == (exits.PARTLY if reports[-1]["failed"] else exits.OK), errors
    assert [report["is_complete"] for report in reports] == [True] * 3
    assert all(report["position"] > 5 for report in reports)
    assert sum(report["stored"] for report in reports) == DOCUMENTS
    [failure] = [failure for report in reports for failure in report["failures"]]
    assert (failure["document_id"], failure["reason"]) == ("broken.pdf", "DOCUMENT_UNREADABLE")
    with Client(server.address) as client:
        stored = [each.document_id for each in client.documents(collection="bulk")]
    assert stored == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.md"))


def test_a_shard_that_is_killed_goes_on_without_reading_again_what_it_had_done(server, folder, tmp_path):
    manifest = make_manifest(folder, tmp_path / "manifest.jsonl")
    report = tmp_path / "shard-0-of-1.json"
    command = ("ingest", "--manifest", str(manifest), "--report", str(tmp_path), "-c", "bulk")
    process = start(server, *command)
    until(report.exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = json.loads(report.read_text())
    assert 0 < done["position"] < DOCUMENTS
    for line in manifest.read_text().splitlines()[: done["position"]]:
        Path(json.loads(line)["place"]).unlink()
    run(server, *command)
    end = json.loads(report.read_text())
    assert (end["position"], end["failed"], end["starts"]) == (DOCUMENTS, 0, 2)
    assert end["stored"] + end["unchanged"] == DOCUMENTS
    with Client(server.address) as client:
        assert len(list(client.documents(collection="bulk"))) == DOCUMENTS


def test_a_shard_outlives_the_server_it_talks_to(folder, tmp_path, short_folder):
    manifest = make_manifest(folder, tmp_path / "manifest.jsonl")
    report = tmp_path / "shard-0-of-1.json"
    with retriever(tmp_path / "data", short_folder) as first:
        process = start(first, "ingest", "--manifest", str(manifest), "--report", str(tmp_path), "-c", "bulk")
        until(report.exists)
        first.process.kill()
        first.process.wait()
    with retriever(tmp_path / "data", short_folder) as second:
        _, errors = process.communicate(timeout=LIMIT_S * 2)
        assert process.returncode == 0, errors
        with Client(second.address) as client:
            assert len(list(client.documents(collection="bulk"))) == DOCUMENTS
    assert json.loads(report.read_text())["is_complete"]


def test_an_exported_collection_is_the_same_where_it_is_imported(folder, tmp_path, short_folder):
    with retriever(tmp_path / "data", short_folder, embedder="onnx") as server:
        export_and_import(server, folder, tmp_path, short_folder)


def export_and_import(server, folder, tmp_path, short_folder):
    run(server, "ingest", str(folder), "-c", "bulk", "-m", "year=2024", "-g", "*")
    archive = tmp_path / "bulk.jsonl.gz"
    said = json.loads(run(server, "collections", "export", "bulk", str(archive), "-o", "json"))
    assert said["documents"] == DOCUMENTS
    other = short_folder / "other"
    other.mkdir()
    served = retriever(tmp_path / "other data", other, embedder="onnx")
    with served as target, Client(server.address) as a, Client(target.address) as b:
        run(target, "collections", "import", str(archive), "--as", "copy")
        for query in ("what is word7x1?", "Page 12", "word3x0 word4x0"):
            assert found(b, query, "copy") == found(a, query, "bulk")
        assert b.search("word9x2", collection="copy", filter=None).passages[0].metadata["year"].number_value == 2024
        run(target, "collections", "import", str(archive), "--as", "copy", code=exits.INVALID)
        run(target, "collections", "import", str(archive), "--as", "copy", "--replace")
        assert b.search("word9x2", collection="copy").passages
        # Of the same files nothing needs to be embedded again.
        results = run(target, "ingest", str(folder), "-c", "copy", "-m", "year=2024", "-g", "*", "-o", "json")
        assert {each["outcome"] for each in json.loads(results)} == {"UNCHANGED"}


def test_an_archive_that_was_cut_off_or_changed_is_refused_and_leaves_nothing(server, folder, tmp_path):
    run(server, "ingest", str(folder / "1"), "-c", "bulk")
    whole, wrong = tmp_path / "whole.jsonl", tmp_path / "wrong.jsonl"
    run(server, "collections", "export", "bulk", str(whole))
    content = whole.read_bytes()
    for changed in (b"", content[:-10], content[: len(content) // 2], content.replace(b"Page 8", b"Page 9", 1)):
        wrong.write_bytes(changed)
        process = start(server, "collections", "import", str(wrong), "--as", "copy")
        _, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == exits.INVALID
        assert "ARCHIVE_INVALID" in errors
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(content)[:-100])
    run(server, "collections", "import", str(packed), "--as", "copy", code=exits.INVALID)
    with Client(server.address) as client:
        assert [each.collection for each in client.collections()] == ["bulk"]


def test_a_server_that_is_killed_in_an_import_shows_nothing_of_it_afterwards(folder, tmp_path, short_folder):
    archive = tmp_path / "bulk.jsonl"
    with retriever(tmp_path / "data", short_folder) as first, Client(first.address) as client:
        run(first, "ingest", str(folder), "-c", "bulk")
        run(first, "collections", "export", "bulk", str(archive))
        content = archive.read_bytes()

        def until_killed():
            yield content[: len(content) // 2]
            first.process.kill()
            yield content[len(content) // 2 :]

        with pytest.raises(BackendUnavailable):
            list(client.import_collection("copy", until_killed()))
    with retriever(tmp_path / "data", short_folder) as second, Client(second.address) as client:
        assert [each.collection for each in client.collections()] == ["bulk"]
        with pytest.raises(CollectionNotFound):
            client.search("word7x1", collection="copy")
        run(second, "collections", "import", str(archive), "--as", "copy")
        assert found(client, "what is word7x1?", "copy") == found(client, "what is word7x1?", "bulk")


def test_an_import_whose_command_is_killed_can_be_begun_again(server, folder, tmp_path):
    run(server, "ingest", str(folder), "-c", "bulk")
    archive, pipe = tmp_path / "bulk.jsonl", tmp_path / "pipe.jsonl"
    run(server, "collections", "export", "bulk", str(archive))
    os.mkfifo(pipe)
    process = start(server, "collections", "import", str(pipe), "--as", "copy")
    content = archive.read_bytes()
    with pipe.open("wb") as half:
        half.write(content[: len(content) // 2])
        half.flush()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with Client(server.address) as client:
        assert [each.collection for each in client.collections()] == ["bulk"]
        until(lambda: start_again(server, archive) == 0)
        assert found(client, "what is word7x1?", "copy") == found(client, "what is word7x1?", "bulk")


def start_again(server, archive) -> int:
    process = start(server, "collections", "import", str(archive), "--as", "copy")
    process.communicate(timeout=LIMIT_S)
    return process.returncode


@pytest.fixture
def s3(monkeypatch):
    """A real S3 server, and a bucket in it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="documents")
    yield environment
    moto.stop()


def test_documents_reports_and_archives_may_lie_in_an_object_store(server, folder, tmp_path, s3):
    bucket = boto3.resource("s3").Bucket("documents")
    large = folder / "large.html"
    large.write_text(f"<html><!-- {'x' * 700_000} --><body><p>A large file with few words.</p></body></html>")
    pages = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.md"))
    names = [*pages[:12], "large.html"]
    for name in names:
        bucket.upload_file(str(folder / name), f"in/{name}")
    manifest = make_manifest("s3://documents/in", tmp_path / "m.jsonl", **s3)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert sorted(line["document_id"] for line in lines) == sorted(names)
    assert all(line["etag"] and line["size_bytes"] for line in lines)
    bucket.upload_file(str(manifest), "m.jsonl")
    run(
        server, "ingest", "--manifest", "s3://documents/m.jsonl", "--shard", "0/1", "--report", "s3://documents/out",
        "-c", "bulk", **s3,
    )  # fmt: skip
    report = json.loads(bucket.Object("out/shard-0-of-1.json").get()["Body"].read())
    assert (report["stored"], report["failed"], report["is_complete"]) == (len(names), 0, True)
    run(server, "collections", "export", "bulk", "s3://documents/out/bulk.jsonl.gz", **s3)
    run(server, "collections", "import", "s3://documents/out/bulk.jsonl.gz", "--as", "copy", **s3)
    with Client(server.address) as client:
        assert sorted(each.document_id for each in client.documents(collection="copy")) == sorted(names)
        [document] = [each for each in client.documents(collection="copy") if each.document_id == names[0]]
        assert document.uri == f"s3://documents/in/{names[0]}"
    process = start(server, "collections", "export", "bulk", "s3://nowhere/bulk.jsonl", **s3)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == exits.INVALID
    assert "Traceback" not in errors
