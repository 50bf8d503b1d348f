"""What the client sends for a document, whatever it is given as."""

from __future__ import annotations

import os

from askmesh.documents import PART_BYTES, SUFFIXES, DocumentFile, files_below, left_out_below, messages_of
from retriever.ingest.parsing.formats import _EXTENSIONS


def sent(document):
    return list(messages_of(document, "docs"))


def content(messages):
    first = messages[0].document
    head = first.text.encode() if first.WhichOneof("content") == "text" else first.data
    return head + b"".join(message.part.data for message in messages[1:])


def test_a_small_text_travels_whole():
    messages = sent(DocumentFile("a.md", "# Hello", metadata={"year": 2024}, groups=["staff"]))
    assert len(messages) == 1
    assert messages[0].document.text == "# Hello"
    assert not messages[0].document.has_parts
    assert messages[0].document.metadata["year"].number_value == 2024


def test_a_large_text_and_a_large_file_travel_in_parts_and_lose_nothing(tmp_path):
    data = bytes(range(256)) * 8_192
    (tmp_path / "large.bin").write_bytes(data)
    for given, whole in (("é" * 1_000_000, "é".encode() * 1_000_000), (data, data), (tmp_path / "large.bin", data)):
        messages = sent(DocumentFile("large.md", given))
        assert content(messages) == whole
        assert messages[0].document.has_parts
        assert [message.part.is_last for message in messages[1:]] == [False] * (len(messages) - 2) + [True]
        assert max(len(message.part.data) for message in messages[1:]) <= PART_BYTES


def test_a_file_that_is_exactly_one_part_needs_no_second(tmp_path):
    (tmp_path / "one.bin").write_bytes(b"x" * PART_BYTES)
    messages = sent(DocumentFile("one.bin", tmp_path / "one.bin"))
    assert len(messages) == 1
    assert not messages[0].document.has_parts


def test_an_empty_file_is_sent_so_that_the_server_can_say_so(tmp_path):
    (tmp_path / "empty.md").touch()
    messages = sent(DocumentFile("empty.md", tmp_path / "empty.md"))
    assert len(messages) == 1
    assert messages[0].document.data == b""


def test_a_folder_gives_its_documents_by_path_and_leaves_hidden_and_foreign_files(tmp_path):
    for name in ("b.md", "sub/a.PDF", ".hidden/c.md", ".d.md", "picture.png", "LICENSE", "sub/b.eml", ".hidden/d.eml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.document_id for file in files_below(tmp_path)] == ["b.md", "sub/a.PDF"]
    assert left_out_below(tmp_path) == {".png": 1, ".eml": 1, "": 1}
    assert [file.document_id for file in files_below(tmp_path / "b.md")] == ["b.md"]
    assert not left_out_below(tmp_path / "b.md")


def test_every_ending_the_retriever_knows_is_picked_up_from_a_folder():
    assert {f".{ending}" for ending in _EXTENSIONS} == SUFFIXES


def test_a_file_name_that_is_not_utf8_still_names_its_document(tmp_path):
    (tmp_path / os.fsdecode(b"n\xff.txt")).touch()
    assert [file.document_id for file in files_below(tmp_path)] == ["n\\xff.txt"]
    assert sent(next(files_below(tmp_path)))[0].document.uri == "n\\xff.txt"
