"""What a person sees: answers and tables letter by letter, and what is told of an error."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rich.console import Console

from askmesh.answers import Citation, answer_of
from askmesh.commands import ingest
from askmesh.documents import DocumentFile, IngestResult
from askmesh.output import console, print_answer, print_error, table
from chassis.errors import BackendUnavailable, DocumentNotFound, DocumentUnreadable, SearchUnavailable

ADDRESS = "tcp:1234:80 a:100:b"  # what rich takes for emoji codes: 🔢 and 💯


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (BackendUnavailable("the service does not answer; try again", retry_after_s=1.0), True),
        (SearchUnavailable("both legs are down", retry_after_s=1.0), False),  # it does answer
    ],
)
def test_who_finds_nobody_is_told_how_to_start_it_and_how_to_look_elsewhere(capsys, error, is_told):
    print_error(error)
    said = " ".join(capsys.readouterr().err.split())
    assert "Try again in 1.0 s." in said
    assert ("askmesh up" in said and "ASKMESH_CLIENT_TARGET" in said) is is_told


def test_what_looks_like_an_emoji_code_is_printed_as_it_is(capsys):
    citation = Citation(marker=1, document_id=f"id {ADDRESS}", title=f"title {ADDRESS}", quote=f"quote {ADDRESS}")
    print_answer(answer_of(pb.AskResponse(text=f"text {ADDRESS}", citations=[citation])))
    console.print(table("1 documents", ("id",), [(f"cell {ADDRESS}",)]))
    said = capsys.readouterr().out
    assert [what for what in ("text", "id", "title", "quote", "cell") if f"{what} {ADDRESS}" not in said] == []


def test_what_looks_like_an_emoji_code_is_left_alone_in_an_error_too(capsys):
    print_error(DocumentNotFound(f"there is no {ADDRESS}"))
    assert f"there is no {ADDRESS}" in capsys.readouterr().err


class Failing:
    """A client whose server reads no document."""

    async def ingest(self, files):
        for index, file in enumerate(files):
            yield IngestResult(index, file.document_id, "FAILED", 0, 0, DocumentUnreadable("not a PDF"))


async def test_an_ingest_s_bar_shows_ids_as_they_are(monkeypatch):
    printed = io.StringIO()
    terminal = Console(file=printed, force_terminal=True, width=200, highlight=False, emoji=False)
    monkeypatch.setattr(ingest, "errors", terminal)
    client: Any = Failing()
    await ingest.ingest_with_progress(client, [DocumentFile(f"[b] {ADDRESS}", b"")])
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.getvalue())
    bars = [line for line in re.split(r"[\r\n]", shown) if line.startswith("Ingesting") and "1/1" in line]
    assert bars
    assert all(f"[b] {ADDRESS}" in line for line in bars)
