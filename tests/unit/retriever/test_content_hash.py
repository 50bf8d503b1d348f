"""Equal documents have equal hashes; any change that matters changes the hash."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.documents import DocumentSource
from retriever.ingest.hashing import content_hash

SOURCE = DocumentSource(
    "a.md",
    b"text",
    title="A",
    uri="u",
    source="s",
    content_type="text/markdown",
    metadata={"year": 1.0, "ok": True},
    groups=("board", "staff"),
)
CHANGES = {
    "bytes": {"data": b"texts"},
    "title": {"title": "B"},
    "uri": {"uri": "v"},
    "source": {"source": "t"},
    "content type": {"content_type": "text/plain"},
    "groups": {"groups": ("board",)},
    "a metadata value": {"metadata": {"year": 2.0, "ok": True}},
    "a metadata type": {"metadata": {"year": 1.0, "ok": 1.0}},
    "a metadata name": {"metadata": {"years": 1.0, "ok": True}},
    "less metadata": {"metadata": {"year": 1.0}},
    "text that moves to the next field": {"title": "Au", "uri": ""},
}


def hashed(source, versions=("p1", "c1"), fingerprint="e1"):
    return content_hash(source, versions=versions, embedder_fingerprint=fingerprint)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_changes_with(change):
    assert hashed(replace(SOURCE, **change)) != hashed(SOURCE)


def test_it_changes_with_parser_chunker_and_embedder():
    found = {hashed(SOURCE), hashed(SOURCE, ("p2", "c1")), hashed(SOURCE, ("p1", "c2")), hashed(SOURCE, fingerprint="")}
    assert len(found) == 4


def test_it_does_not_change_with_the_order_of_groups_and_metadata():
    turned = replace(SOURCE, groups=("staff", "board"), metadata={"ok": True, "year": 1.0})
    assert hashed(turned) == hashed(SOURCE)


def test_times_are_compared_as_moments():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    one, other = (replace(SOURCE, metadata={"at": each}) for each in (moment, moment.astimezone()))
    assert hashed(one) == hashed(other)


@given(st.binary(), st.text(), st.text(), st.text())
def test_no_two_documents_share_one(data, title, uri, source):
    given_ = replace(SOURCE, data=data, title=title, uri=uri, source=source)
    moved = replace(given_, title=title + uri, uri="") if uri else replace(given_, data=data + b"\0")
    assert hashed(given_) != hashed(moved)
