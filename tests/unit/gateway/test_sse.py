"""Events on the wire."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import frame

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def parsed(raw):
    """One event, read as WHATWG HTML says: lines end with CRLF, LF or CR; one space after the colon goes."""
    text = raw.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n\n")
    found: dict[str, Any] = {"data": []}
    for line in text[:-2].split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            found["data"].append(value)
        else:
            found[name] = value
    return {**found, "data": "\n".join(found["data"])}


@given(TEXT)
def test_any_text_comes_back_with_its_line_ends_as_newlines(text):
    event = parsed(frame("token", text, "a1:3"))
    assert event == {"event": "token", "id": "a1:3", "data": text.replace("\r\n", "\n").replace("\r", "\n")}


@given(TEXT)
def test_any_json_comes_back_exactly(text):
    assert json.loads(parsed(frame("answer.delta", json.dumps({"text": text})))["data"]) == {"text": text}
