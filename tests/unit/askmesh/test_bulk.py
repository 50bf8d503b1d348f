"""A shard's run and its report: every document is sent once, or again where that is safer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import ClassVar

import fsspec
import pytest
from botocore.exceptions import BotoCoreError
from fsspec.implementations.memory import MemoryFileSystem

from askmesh.documents import WHOLE_BYTES, Collection, DocumentFile, IngestResult
from askmesh.manifest import Entry, Shard
from askmesh.places import Place
from askmesh.shard_report import MAX_FAILURES, ShardReport, digest_of, following, place_of, read_report, write_report
from askmesh.shard_run import MAX_ATTEMPTS, ShardJob, ShardRun
from chassis.errors import (
    CollectionNotFound,
    DocumentEmpty,
    PermissionDenied,
    SearchUnavailable,
)

UID = "3f2a"
FRESH = ShardReport("0/1", "m.jsonl", "docs")


def entry(number):
    return Entry(f"d{number}.md", f"/nowhere/d{number}.md", number, f"tag{number}")


def result(number, outcome="STORED", error=None):
    return IngestResult(number, f"d{number}.md", outcome, 1, 2, error)


def manifest_of(tmp_path, count):
    file = tmp_path / "m.jsonl"
    lines = []
    for number in range(count):
        page = tmp_path / f"d{number}.md"
        page.write_text(f"# Page {number}")
        lines.append(Entry(page.name, str(page), page.stat().st_size, f"tag{number}").line)
    file.write_text("\n".join(lines) + "\n")
    return str(file)


class Server:
    """Answers an ingest as it is told to; fails after so many results, once for each number given."""

    def __init__(self, *, fails_after=(), answers=None, uid="", is_away=0):
        self.fails_after = list(fails_after)
        self.answers = answers or {}
        self.received = []
        self.uid = uid  # of the collection, which its first document makes
        self.is_away = is_away

    async def collection(self, name):
        if self.is_away:
            self.is_away -= 1
            raise SearchUnavailable("gone for a moment")
        if not self.uid:
            raise CollectionNotFound("no such collection")
        return Collection(collection=name, uid=self.uid)

    async def ingest(self, documents):
        count = self.fails_after.pop(0) if self.fails_after else None
        at = 0
        async for document in documents:
            if at == count:
                raise SearchUnavailable("gone for a moment")
            self.received.append(document)
            error = self.answers.get(document.document_id)
            self.uid = self.uid or ("" if error else UID)
            yield IngestResult(at, document.document_id, "FAILED" if error else "STORED", 1, 1, error)
            at += 1


async def run(tmp_path, server, *, report=None, shard=None, manifest=None, pauses=None):
    job = ShardJob(
        manifest or manifest_of(tmp_path, 20), shard or Shard(), place_of(str(tmp_path), Shard()), DocumentFile("", b"")
    )

    async def sleep(seconds):
        if pauses is not None:
            pauses.append(seconds)

    return await ShardRun(job, report or replace(FRESH, manifest=job.manifest, failures=[]), sleep=sleep).run(server)


def ids(server):
    return [document.document_id for document in server.received]


def test_a_report_is_read_back_as_it_was_written(tmp_path, memory):
    report = replace(FRESH, failures=[])
    for number in range(3):
        report.took(entry(number), result(number))
    report.took(entry(3), result(3, "FAILED", DocumentEmpty("no text")))
    report.timed(2.0)
    for folder in (str(tmp_path), "memory://reports"):
        place = place_of(folder, Shard())
        write_report(place, report)
        assert read_report(place, FRESH) == report
    assert (report.stored, report.failed, report.bytes, report.documents_per_s) == (3, 1, 3, 2.0)
    assert report.failures == [{"document_id": "d3.md", "reason": "DOCUMENT_EMPTY", "message": "no text"}]


def test_a_report_of_another_job_or_none_counts_for_nothing(tmp_path):
    place = place_of(str(tmp_path), Shard())
    assert read_report(place, FRESH) is FRESH
    write_report(place, ShardReport("0/1", "m.jsonl", "other", position=7))
    assert read_report(place, FRESH) is FRESH
    write_report(place, ShardReport("0/1", "m.jsonl", "docs", digest_of(DocumentFile("", b"")), position=7))
    assert read_report(place, FRESH) is FRESH
    write_report(place, ShardReport("0/1", "m.jsonl", "docs", position=7, is_complete=True))
    assert read_report(place, FRESH) is FRESH
    (tmp_path / "shard-0-of-1.json").write_text("{")
    assert read_report(place, FRESH) is FRESH


@pytest.mark.parametrize(
    "other", [{"groups": ("hr",)}, {"source": "wiki"}, {"metadata": {"year": 2024}}, {"metadata": {"year": "2024"}}]
)
def test_documents_that_are_given_other_fields_are_another_job(other):
    template = DocumentFile("", b"", metadata={"year": 2023})
    assert digest_of(template) == digest_of(replace(template, groups=()))
    assert digest_of(template) != digest_of(replace(template, **other))


def test_only_so_many_failures_are_listed():
    report = replace(FRESH, failures=[])
    for number in range(MAX_FAILURES + 5):
        report.took(entry(number), result(number, "FAILED", DocumentEmpty("no text")))
    assert (report.failed, len(report.failures)) == (MAX_FAILURES + 5, MAX_FAILURES)


async def test_a_shard_sends_its_documents_in_the_manifests_order(tmp_path):
    server = Server()
    report = await run(tmp_path, server)
    assert ids(server) == [f"d{number}.md" for number in range(20)]
    assert server.received[3].data == b"# Page 3"
    assert (report.position, report.stored, report.is_complete) == (20, 20, True)
    assert json.loads((tmp_path / "shard-0-of-1.json").read_text())["position"] == 20


async def test_what_passes_is_tried_again_from_the_first_document_that_is_not_done(tmp_path):
    server = Server(fails_after=[5, 0, 0, 3])
    pauses: list[float] = []
    report = await run(tmp_path, server, pauses=pauses)
    assert ids(server) == [f"d{number}.md" for number in range(20)]
    assert report.stored == 20
    assert pauses == [1.0, 2.0, 4.0, 1.0]


async def test_a_shard_gives_up_when_nothing_moves_and_keeps_what_was_done(tmp_path):
    server = Server(fails_after=[5] + [0] * 50)
    with pytest.raises(SearchUnavailable):
        await run(tmp_path, server)
    assert len(server.fails_after) == 50 - MAX_ATTEMPTS
    assert json.loads((tmp_path / "shard-0-of-1.json").read_text())["position"] == 5


async def test_a_document_whose_store_was_away_is_sent_again_and_a_bad_one_is_not(tmp_path):
    answers = {"d4.md": DocumentEmpty("no text"), "d7.md": SearchUnavailable("gone for a moment")}
    server = Server(answers=answers)

    async def until_seventh():
        await run(tmp_path, server)

    with pytest.raises(SearchUnavailable):
        await until_seventh()
    assert ids(server).count("d4.md") == 1
    assert ids(server).count("d7.md") == 1 + MAX_ATTEMPTS


async def test_an_object_store_that_is_away_for_a_while_fails_no_document(tmp_path, away):
    away.refusals = [OSError(16, "slow down")] * 3 + [BotoCoreError()] * 3
    pauses: list[float] = []
    server = Server()
    report = await run(tmp_path, server, manifest=on_store(tmp_path, away, range(20)), pauses=pauses)
    assert (report.stored, report.failed) == (20, 0)
    assert pauses != []
    assert {document.data for document in server.received} == {f"# Page {n}".encode() for n in range(20)}


async def test_a_large_object_waits_for_its_store_as_well(tmp_path, away):
    away.refusals = [OSError(16, "slow down")]
    manifest = on_store(tmp_path, away, [0], size_bytes=WHOLE_BYTES + 1)
    assert (await run(tmp_path, Server(), manifest=manifest, pauses=[])).stored == 1


async def test_an_object_that_is_gone_or_forbidden_is_nobody_elses_trouble(tmp_path, away):
    away.refusals = [FileNotFoundError(), PermissionError()]
    pauses: list[float] = []
    server = Server()
    report = await run(tmp_path, server, manifest=on_store(tmp_path, away, range(20)), pauses=pauses)
    assert (report.position, pauses) == (20, [])
    assert sum(isinstance(document.data, Place) for document in server.received) == 2


class AwayFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """memory://, but it refuses to open something for reading as often as it is told to."""

    refusals: ClassVar[list[Exception]] = []

    def _open(self, path, mode="rb", **kwargs):
        if mode == "rb" and self.refusals:
            raise self.refusals.pop()
        return super()._open(path, mode, **kwargs)


@pytest.fixture
def away(memory):
    fsspec.register_implementation("memory", AwayFileSystem, clobber=True)
    yield AwayFileSystem
    AwayFileSystem.refusals = []
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


def on_store(tmp_path, store, numbers, size_bytes=8):
    lines = []
    for number in numbers:
        store().pipe(f"/d{number}.md", f"# Page {number}".encode())
        lines.append(Entry(f"d{number}.md", f"memory://d{number}.md", size_bytes, "").line)
    file = tmp_path / "m.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


async def test_what_does_not_pass_ends_the_shard_at_once(tmp_path):
    class Refusing(Server):
        async def ingest(self, documents):
            async for document in documents:
                yield self.refused(document)

        def refused(self, document):
            raise PermissionDenied("needs the role ingest")

    server = Refusing()
    pauses: list[float] = []
    with pytest.raises(PermissionDenied):
        await run(tmp_path, server, pauses=pauses)
    assert pauses == []


async def test_a_shard_that_is_started_again_reads_nothing_that_was_done(tmp_path):
    manifest = manifest_of(tmp_path, 20)
    with pytest.raises(SearchUnavailable):
        await run(tmp_path, Server(fails_after=[8] + [0] * 50), manifest=manifest)
    for number in range(8):
        (tmp_path / f"d{number}.md").unlink()
    server = Server(uid=UID)
    place = place_of(str(tmp_path), Shard())
    report = await run(
        tmp_path, server, manifest=manifest, report=read_report(place, replace(FRESH, manifest=manifest))
    )
    assert (report.position, report.starts) == (20, 2)
    assert ids(server) == [f"d{number}.md" for number in range(8, 20)]


async def test_a_manifest_that_changed_where_it_was_done_begins_again(tmp_path):
    done = replace(
        FRESH, failures=[], position=2, stored=2, digest=following(following(FRESH.digest, entry(1)), entry(2))
    )
    server = Server()
    report = await run(tmp_path, server, report=done)
    assert len(server.received) == 20
    assert report.stored == 20


@pytest.mark.parametrize("uid", ["", "other"], ids=["deleted", "another one"])
async def test_a_shard_begins_again_where_the_collection_does_not_have_what_was_done(tmp_path, uid):
    done = replace(
        FRESH, failures=[], position=2, stored=2, collection_uid=UID,
        digest=following(following(FRESH.digest, entry(0)), entry(1)),
    )  # fmt: skip
    (tmp_path / "m.jsonl").write_text("\n".join(entry(number).line for number in range(4)))
    server = Server(uid=uid)
    report = await run(tmp_path, server, report=done, manifest=str(tmp_path / "m.jsonl"))
    assert len(server.received) == report.position == 4
    assert report.collection_uid == server.uid != ""


async def test_a_collection_that_cannot_be_looked_at_now_is_looked_at_again(tmp_path):
    server = Server(is_away=3)
    pauses: list[float] = []
    report = await run(tmp_path, server, pauses=pauses)
    assert (report.stored, report.collection_uid) == (20, UID)
    assert pauses == [1.0, 2.0, 4.0]


async def test_a_shard_that_was_complete_begins_again_and_tries_what_failed(tmp_path):
    manifest, place = manifest_of(tmp_path, 5), place_of(str(tmp_path), Shard())
    fresh = replace(FRESH, manifest=manifest, failures=[])
    first = Server(answers={"d3.md": DocumentEmpty("no text")})
    assert (await run(tmp_path, first, manifest=manifest, report=fresh)).failed == 1
    server = Server(uid=UID)
    again = read_report(place, replace(FRESH, manifest=manifest, failures=[]))
    report = await run(tmp_path, server, manifest=manifest, report=again)
    assert len(server.received) == 5
    assert (report.failed, report.failures) == (0, [])


async def test_a_large_file_is_sent_in_parts_and_never_held(tmp_path):
    manifest = manifest_of(tmp_path, 1)
    large = tmp_path / "large.txt"
    large.write_bytes(b"x" * 3_000_000)
    with open(manifest, "a") as file:  # noqa: PTH123, ASYNC230  # a line more
        file.write(Entry("large.txt", str(large), 3_000_000, "").line + "\n")
    server = Server()
    await run(tmp_path, server, manifest=manifest)
    assert not isinstance(server.received[1].data, bytes)
