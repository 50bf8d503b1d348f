"""The parts of the page that only compute, held against Python's own answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from gateway.sse import frame
from tests.web.conftest import WatchedPage
from tests.web.contract_server import ContractServer, demo_scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(contract: ContractServer, kept_page: WatchedPage) -> AsyncIterator[Page]:
    """One visit for all: functions that only compute leave nothing behind."""
    contract.scene = demo_scene()
    await kept_page.page.goto(contract.url)
    yield kept_page.page
    complaints = await kept_page.complaints()
    await kept_page.forget(contract.url)
    assert complaints == []


ALPHABET = "ab \n\u00e9\u4e2d\u0301👩🗄\U0001d49c\u200d\r"


async def test_code_point_offsets_cut_what_python_cuts(page: Page) -> None:
    chosen = random.Random(20261123)
    cases = []
    for _ in range(300):
        text = "".join(chosen.choices(ALPHABET, k=chosen.randrange(40)))
        start, end = sorted(chosen.choices(range(45), k=2))
        cases.append((text, start, end))
    found = await page.evaluate(
        "async (cases) => { const { utf16Range } = await import('/offsets.js');"
        " return cases.map(([text, start, end]) => text.slice(...utf16Range(text, start, end))); }",
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


@pytest.mark.parametrize(
    ("text", "announced", "told"),
    [
        ("Ants dig [1]. Bees fly [1].", [0, 0], ["Ants dig tunnels.", "Bees can fly."]),
        ("Bees fly [1]. Ants dig [1].", [0, 0], ["Ants dig tunnels.", "Bees can fly."]),  # one each: their order tells
        (
            "Ants dig [1]. Bees fly [1]. Ants dig [1].",
            [0, 0],
            ["Ants dig tunnels.", "Bees can fly.", "Ants dig tunnels."],
        ),
        (
            "Ants dig [1]. 蜂は飛ぶ [1]. Ants dig [1].",
            [8, 18],
            ["Ants dig tunnels.", "Bees can fly.", "Ants dig tunnels."],
        ),
        ("Ants dig [1]. Well [1]. Bees fly [1].", [0, 0], ["Ants dig tunnels.", None, "Bees can fly."]),
        ("Ants dig [1]. Bees fly [1].", [0], ["Ants dig tunnels.", "Ants dig tunnels."]),
        ("Ants dig [1]. Bees", [0, 14], ["Ants dig tunnels."]),
        ("Text [1].", [], [None]),
    ],
)
async def test_the_quote_behind_a_sentence_is_told_from_order_and_words(
    page: Page, text: str, announced: list[int], told: list[str | None]
) -> None:
    quotes = [
        {"announcedAt": at, "quote": quote}
        for at, quote in zip(announced, ["Ants dig tunnels.", "Bees can fly."], strict=False)
    ]
    found = await page.evaluate(
        """async ([text, quotes]) => {
          const { supporting } = await import("/support.js");
          const uses = [...text.matchAll(/\\[1\\]/g)].map((found) => found.index);
          return uses.map((at) => supporting(quotes, { text, uses, at })?.quote ?? null);
        }""",
        [text, quotes],
    )
    assert found == told


async def test_a_marker_closes_the_last_sentence_before_it(page: Page) -> None:
    text = "Costs 1.5 now [1]. It was less. It grew [2][1] [3]."
    found = await page.evaluate(
        """async (text) => {
          const { claimBefore } = await import("/support.js");
          return [...text.matchAll(/\\[/g)].map((found) => claimBefore(text, found.index));
        }""",
        text,
    )
    assert found == ["Costs 1.5 now", "It grew", "It grew", "It grew"]


async def test_a_marker_knows_its_place_in_the_text_while_it_grows(page: Page) -> None:
    text = (
        "## Title [1]\n\n \nOne **bold [2] word** and `code [3]` 🗄 [4].\n- item [5]\n  1. more [6]\n\n"
        "```\n[7]\n```\n1. x [8]\n22) y [9]"
    )
    found = await page.evaluate(
        """async (text) => {
          const { Prose } = await import("/prose.js");
          const prose = new Prose((marker, at) => {
            const button = document.createElement("button");
            button.textContent = `${marker} ${text.slice(at, at + 3)}`;
            return button;
          });
          for (let end = 1; end <= text.length; end += 1) prose.show(text.slice(0, end));
          return [...prose.node.querySelectorAll("button")].map((button) => button.textContent);
        }""",
        text,
    )
    assert found == [f"{marker} [{marker}]" for marker in (1, 2, 4, 5, 6, 8, 9)]


async def test_marks_that_overlap_are_cut_where_the_marking_changes(page: Page) -> None:
    found = await page.evaluate(
        """async () => {
          const { stretches } = await import("/marks.js");
          const quotes = [[2, 9], [4, 6], [12, 40]].map((range, index) => ({ range, isCurrent: index === 1 }));
          return stretches([1, 20], quotes).map(({ start, end, kind }) => `${start}-${end} ${kind}`.trim());
        }"""
    )
    assert found == ["1-2", "2-4 quote", "4-6 current", "6-9 quote", "9-12", "12-20 quote"]
