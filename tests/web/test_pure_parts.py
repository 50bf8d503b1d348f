"""The parts of the page that only compute, held against Python's own answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from playwright.async_api import Page

from gateway.sse import frame

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALPHABET = "ab \n\u00e9\u4e2d\u0301👩🗄\U0001d49c\u200d\r"


async def test_code_point_offsets_cut_what_python_cuts(page: Page) -> None:
    chosen = random.Random(20261123)
    cases = []
    for _ in range(300):
        text = "".join(chosen.choices(ALPHABET, k=chosen.randrange(40)))
        start, end = sorted(chosen.choices(range(45), k=2))
        cases.append((text, start, end))
    found = await page.evaluate(
        "async (cases) => { const { sliceByPoints } = await import('/offsets.js');"
        " return cases.map((one) => sliceByPoints(...one)); }",
        cases,
    )
    assert found == [text[start:end] for text, start, end in cases]


async def test_an_event_stream_reads_the_same_however_it_is_cut(page: Page) -> None:
    stream = (
        b": hello\r\n\r\n"
        + frame("answer.delta", 'a\nb: "é👩"', "x:1")
        + b"event: error\rdata: 2\r\r"
        + frame("z", "3")
    )
    found: list[Any] = await page.evaluate(
        """async (text) => {
          const { EventParser } = await import("/sse.js");
          const read = (pieces) => {
            const parser = new EventParser();
            return pieces.flatMap((piece) => [...parser.push(piece)]);
          };
          const cuts = Array.from({ length: text.length }, (_, at) => read([text.slice(0, at), text.slice(at)]));
          return [...new Set([...cuts, read([...text])].map((events) => JSON.stringify(events)))];
        }""",
        stream.decode(),
    )
    assert found == [
        '[{"name":"answer.delta","data":"a\\nb: \\"é👩\\"","id":"x:1"},'
        '{"name":"error","data":"2","id":"x:1"},{"name":"z","data":"3","id":"x:1"}]'
    ]


async def test_answers_are_cut_into_blocks(page: Page) -> None:
    text = "Intro:\n- one\n- two\nAfter.\n\n```py\na\n\nb\n```\nEnd\n"
    found = await page.evaluate("async (text) => (await import('/prose.js')).blocks(text)", text)
    assert found == ["Intro:", "- one\n- two", "After.", "```py\na\n\nb\n```", "End"]


async def test_paragraphs_are_unwrapped_without_moving_an_offset(page: Page) -> None:
    wrapped = (
        "A line that is wrapped at some column because an editor does it so\nand goes on.\n\n"
        "- a list\n- stays\nshort\nlines\n"
    )
    found = await page.evaluate("async (text) => (await import('/offsets.js')).softened(text)", wrapped)
    assert found == wrapped.replace("so\nand", "so and")


@pytest.mark.parametrize(
    ("document_id", "path"),
    [
        ("handbook/leave days.md", "handbook/leave%20days.md"),
        ("../x", "..%2Fx"),
        ("a//b", "a%2F%2Fb"),
        ("100%?#&.md", "100%25%3F%23%26.md"),
    ],
)
async def test_any_document_id_survives_its_way_into_a_path(page: Page, document_id: str, path: str) -> None:
    found = await page.evaluate("async (id) => (await import('/api.js')).documentPath('docs', id)", document_id)
    assert found == f"/v1/collections/docs/documents/{path}"
