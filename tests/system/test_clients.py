"""The Python clients and the command line against a real installation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import askmesh
from askmesh.answers import Completed, Delta, Started
from askmesh.client import AsyncClient
from askmesh.documents import DocumentFile
from askmesh.filters import where
from askmesh.sync import Client
from chassis import errors


def cli(installation, *arguments, given=None):
    return subprocess.run(
        [sys.executable, "-m", "askmesh", *arguments, "--target", installation.grpc],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_asynchronous_client_asks_streams_and_searches(installation):
    async with AsyncClient(installation.grpc) as client:
        answer = await client.ask("What does the chassis hold?")
        events = [event async for event in client.stream("What does the chassis hold?", cache="bypass")]
        found = await client.search("chassis", top_k=2)
    assert answer.citations
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == answer.text
    assert len(found.passages) == 2


async def test_documents_go_in_are_filtered_and_go_out(installation):
    files = [
        DocumentFile("old.md", "# Leave\n\nEmployees get 25 days of leave.", metadata={"year": 2023}),
        DocumentFile("new.md", "# Leave\n\nEmployees get 30 days of leave.", metadata={"year": 2024}),
        DocumentFile("large.txt", "A long line of text about nothing much. " * 40_000, metadata={"year": 2020}),
    ]
    async with AsyncClient(installation.grpc, collection="clients", timeout_s=60) as client:
        results = [result async for result in client.ingest(files[:2])]
        answer = await client.ask("How many days of leave do employees get?", filter=where("year") >= 2024)
        await client.delete("new.md")
        left = [document.document_id async for document in client.documents()]
        with pytest.raises(errors.DocumentNotFound):
            await client.document("new.md")
    assert [result.outcome for result in results] == ["STORED", "STORED"]
    assert "30 days" in answer.text
    assert left == ["old.md"]


async def test_one_exception_class_per_reason(installation):
    async with AsyncClient(installation.grpc) as client:
        with pytest.raises(errors.CollectionNotFound):
            await client.ask("why?", collection="nowhere")
        with pytest.raises(errors.InvalidRequest) as invalid:
            await client.ask("", top_k=101)
        with pytest.raises(errors.FilterInvalid):
            await client.ask("why?", filter=where("nope") == 1)
    assert {violation.field for violation in invalid.value.violations} == {"question", "top_k"}


def test_the_synchronous_client_does_the_same(installation):
    with Client(installation.grpc) as client:
        answer = client.ask("What is group commit?")
        events = list(client.stream("What is group commit?"))
        names = [document.document_id for document in client.documents()]
    assert answer.citations
    assert isinstance(events[-1], Completed)
    assert "consistency.md" in names


def test_the_command_line_asks_and_prints_json(installation):
    text = cli(installation, "ask", "What is the timebox of retrieval?")
    machine = cli(installation, "ask", "What is the timebox of retrieval?", "-o", "json")
    assert text.returncode == 0, text.stderr
    assert "250 ms" in text.stdout
    assert json.loads(machine.stdout)["citations"]


def test_the_command_line_ingests_a_folder_and_reports_each_failure(installation, tmp_path):
    (tmp_path / "good.md").write_text("# Tea\n\nTea is brewed at 90 degrees.")
    (tmp_path / "bad.pdf").write_text("this is no pdf")
    (tmp_path / "mail.eml").write_text("Subject: not read")
    (tmp_path / os.fsdecode(b"n\xff.md")).write_text("# Milk\n\nMilk is kept at 4 degrees.")
    ended = cli(installation, "ingest", str(tmp_path), "-c", "cli")
    listed = cli(installation, "documents", "list", "-c", "cli", "-o", "json")
    assert ended.returncode == 8
    assert "bad.pdf" in ended.stderr
    assert "DOCUMENT_UNREADABLE" in ended.stderr
    assert "1 .eml" in ended.stderr
    assert [item["documentId"] for item in json.loads(listed.stdout)] == ["good.md", "n\\xff.md"]


@pytest.fixture
def three_documents(installation, tmp_path):
    """The connection options of a collection with a.md, b.md and c.md."""
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text(f"# {name}\n\nThis is {name}.")
    assert cli(installation, "ingest", str(tmp_path), "-c", "three").returncode == 0
    return "-c", "three"


def left_in(installation, where):
    listed = cli(installation, "documents", "list", *where, "-o", "json")
    return [item["documentId"] for item in json.loads(listed.stdout)]


def test_a_delete_goes_on_past_ids_that_are_not_there_and_says_so(installation, three_documents):
    ended = cli(installation, "documents", "delete", "a.md", "typo.md", "c.md", *three_documents)
    assert ended.returncode == 4
    assert [line.partition(" (")[0] for line in ended.stdout.splitlines()] == ["Deleted a.md", "Deleted c.md"]
    assert "typo.md: DOCUMENT_NOT_FOUND" in ended.stderr
    assert left_in(installation, three_documents) == ["b.md"]


def test_a_delete_gives_programs_a_generation_or_an_error_for_each_id(installation, three_documents):
    ended = cli(installation, "documents", "delete", "a.md", "typo.md", "c.md", "-o", "json", *three_documents)
    outcomes = json.loads(ended.stdout)
    assert ended.returncode == 4
    assert list(outcomes) == ["a.md", "typo.md", "c.md"]
    assert 0 < outcomes["a.md"] < outcomes["c.md"]
    assert outcomes["typo.md"]["reason"] == "DOCUMENT_NOT_FOUND"


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_delete_that_fails_half_way_says_what_it_did(installation, three_documents, output):
    ended = cli(installation, "documents", "delete", "a.md", b"\xff", "c.md", "-o", output, *three_documents)
    assert ended.returncode == 3
    assert "a.md" in ended.stdout
    assert "c.md" not in ended.stdout
    assert "FIELD_INVALID" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert left_in(installation, three_documents) == ["b.md", "c.md"]


def test_two_files_of_one_id_are_refused_before_one_replaces_the_other(installation, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"# {folder}\n\nThis is {folder}.")
    ended = cli(installation, "ingest", str(tmp_path / "one"), str(tmp_path / "two"), "-c", "twice")
    assert ended.returncode == 3
    assert "README.md" in ended.stderr
    assert "--prefix" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("ask", ""), 3, "FIELD_INVALID"),
        (("ask", "why?", "-c", "nowhere"), 4, "COLLECTION_NOT_FOUND"),
        (("ask", "why?", "-f", "nope=1"), 3, "FILTER_INVALID"),
        (("ask", b"\xff"), 3, "FIELD_INVALID"),
        (("ask", "why?", "-f", b"title=\xff"), 3, "FILTER_INVALID"),
        (("ask", "why?", "-c", b"\xff"), 3, "FIELD_INVALID"),
        (("search", b"\xff"), 3, "FIELD_INVALID"),
        (("documents", "show", b"\xff"), 3, "FIELD_INVALID"),
        (("ask", "why?", "--top-k", "3000000000"), 3, "FIELD_INVALID"),
        (("ask", "why?", "--max-tokens", "3000000000"), 2, "--max-tokens"),
        (("ask", "why?", "--token", "two\nlines"), 3, "FIELD_INVALID"),
        (("documents", "show", "nothing.md"), 4, "DOCUMENT_NOT_FOUND"),
    ],
)
def test_exit_codes_tell_errors_apart(installation, arguments, code, reason):
    ended = cli(installation, *arguments)
    assert ended.returncode == code
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_servers_error_is_printed_with_the_request_id_to_quote(installation):
    ended = cli(installation, "ask", "why?", "-c", "nowhere")
    assert re.search(r"request [0-9a-f]{32}", ended.stderr)


def test_no_server_is_unavailable_and_says_what_to_start():
    ended = subprocess.run(
        [sys.executable, "-m", "askmesh", "ask", "why?", "--target", "127.0.0.1:1", "--timeout", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in {6, 7}
    assert "Traceback" not in ended.stderr


def test_what_a_user_imports_comes_from_the_package_itself():
    assert askmesh.Client is Client
    assert askmesh.AsyncClient is AsyncClient
    assert askmesh.where is where
    with pytest.raises(AttributeError):
        _ = askmesh.nothing_of_that_name
