"""A source that is quoted more than once: every quote is marked, and each use of its marker leads to its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from playwright.async_api import Page, expect
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from tests.web import answers
from tests.web.answers import OTHER_QUOTE, QUOTE
from tests.web.contract_server import Scene, Step
from tests.web.pages import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_STEP: Sequence[Step] = answers.two_quotes()
AHEAD: Sequence[Step] = [*IN_STEP[:2], IN_STEP[3], IN_STEP[5], IN_STEP[2], IN_STEP[4], *IN_STEP[6:]]
BROKEN: Sequence[Step] = [*IN_STEP[:5], None, *IN_STEP[5:]]


async def expect_emphasis(page: Page, use: int, quote: str) -> None:
    """A click on a marker's use (0 is the first) emphasises this quote of its source."""
    await page.locator(".prose .cite").nth(use).click()
    await expect(page.locator(".source[data-marker='1']")).to_be_focused()
    await expect(page.locator(".sources mark[aria-current]")).to_have_text([quote])


@pytest.mark.parametrize("script", [IN_STEP, AHEAD, BROKEN], ids=["in step", "announced ahead", "resumed"])
async def test_each_use_of_a_marker_leads_to_the_words_behind_it(
    page: Page, scene: Scene, script: Sequence[Step]
) -> None:
    scene.script = list(script)
    await ask(page)
    await expect(page.locator(".figures")).to_be_visible()
    await expect(page.locator(".sources > .source-list .source")).to_have_count(1)
    await expect(page.locator(".sources mark")).to_have_text([QUOTE, OTHER_QUOTE])
    await expect_emphasis(page, 1, OTHER_QUOTE)
    await expect(page.locator("#announce-status")).to_have_text(f"Source 1, quote 2 of 2: {OTHER_QUOTE}")
    await expect_emphasis(page, 0, QUOTE)
    await expect(page.locator(".sources mark")).to_have_text([QUOTE, OTHER_QUOTE])


async def test_an_answer_that_comes_whole_leads_to_the_same_words(page: Page, scene: Scene) -> None:
    scene.script = [*answers.two_quotes()]
    await page.click("#toggle-options")
    await page.uncheck("#stream")
    await ask(page)
    await expect(page.locator(".sources mark")).to_have_text([QUOTE, OTHER_QUOTE])
    await expect_emphasis(page, 1, OTHER_QUOTE)
    await expect_emphasis(page, 0, QUOTE)


async def test_words_that_were_quoted_before_are_found_again(page: Page, scene: Scene) -> None:
    scene.script[-2:] = [
        *IN_STEP[2:7],
        answers.delta(" A miss of every older entry follows a write [1]. Yes [1]."),
        answers.completed(),
    ]
    await ask(page)
    await expect_emphasis(page, 2, QUOTE)
    await page.locator(".prose .cite").nth(3).click()  # "Yes" is in neither: no quote may seem to be behind it
    await expect(page.locator(".sources mark")).to_have_count(2)
    await expect(page.locator(".sources mark[aria-current]")).to_have_count(0)


async def test_one_quote_alone_needs_no_emphasis(page: Page) -> None:
    await ask(page)
    await page.click(".prose .cite")
    await expect(page.locator(".sources mark")).to_have_text([QUOTE])
    await page.click(".source-title")
    await expect(page.locator("dialog mark")).to_have_text([QUOTE])
    await expect(page.locator("mark[aria-current]")).to_have_count(0)


async def test_a_preview_shows_quotes_that_are_far_apart(page: Page, scene: Scene) -> None:
    text = f"The start. {QUOTE} {'Between them are many words. ' * 60}{OTHER_QUOTE} {'More of it. ' * 60}The end."
    source = answers.source(text=text, end_char=len(text))
    scene.script = [answers.started(), answers.retrieved(source), *_said(source, QUOTE, OTHER_QUOTE)]
    await ask(page)
    await expect(page.locator(".sources mark")).to_have_text([QUOTE, OTHER_QUOTE])
    shown = await page.locator(".sources .passage").inner_text()
    assert shown.startswith("The start. ")
    assert shown.count("…") == 2
    assert len(shown) < 900 < len(text)


async def test_a_quote_that_holds_another_is_emphasised_as_a_whole(page: Page, scene: Scene) -> None:
    both = f"{QUOTE} {OTHER_QUOTE}"
    scene.script = [answers.started(), answers.retrieved(), *_said(answers.source(), OTHER_QUOTE, both)]
    await ask(page)
    await expect(page.locator(".sources mark")).to_have_text([both])
    await expect_emphasis(page, 0, OTHER_QUOTE)
    await expect(page.locator(".sources mark")).to_have_count(2)
    await expect_emphasis(page, 1, both)
    await page.click(".source-title")
    await expect(page.locator("dialog mark[aria-current]")).to_have_text([both])


def _said(source: pb.Source, first: str, second: str) -> list[pb.StreamAskResponse]:
    return [
        answers.cited(source, first),
        answers.delta("One [1]. "),
        answers.cited(source, second),
        answers.delta("Two [1]."),
        answers.completed(),
    ]


async def test_an_open_source_begins_at_the_words_that_were_asked_for(page: Page, scene: Scene) -> None:
    scene.script = [*answers.two_quotes()]
    await ask(page)
    await expect_emphasis(page, 1, OTHER_QUOTE)
    await page.click(".source-title")
    await expect(page.locator("dialog h2")).to_have_text("Source 1, quote 2 of 2")
    await expect(page.locator("dialog mark")).to_have_text([QUOTE, OTHER_QUOTE])
    await expect(page.locator("dialog mark[aria-current]")).to_have_text([OTHER_QUOTE])


async def test_quotes_are_stepped_through_before_the_next_source(page: Page, scene: Scene) -> None:
    prefix = "👩‍🚀 A long 🗄 beginning.\n\n" * 80
    between = "\n\n" + "There are many words between the two. " * 60
    text = f"{QUOTE}{between}{OTHER_QUOTE}"
    scene.store(answers.DOCUMENT_ID, f"{prefix}{text}\n\nThe end 🏁.")
    source = answers.source(text=text, start_char=len(prefix), end_char=len(prefix) + len(text))
    shown = answers.retrieved(source, answers.other_source())
    scene.script = [answers.started(), shown, *_said(source, OTHER_QUOTE, QUOTE)]  # not in the passage's order
    await ask(page)
    await page.click(".source-title >> nth=0")
    title, current = page.locator("dialog h2"), page.locator("dialog mark[aria-current]")
    for press, heading, quote in [
        ("", "Source 1, quote 1 of 2", QUOTE),
        (".next", "Source 1, quote 2 of 2", OTHER_QUOTE),
        (".previous", "Source 1, quote 1 of 2", QUOTE),
        (".next", "Source 1, quote 2 of 2", OTHER_QUOTE),
    ]:
        await page.click(f"dialog {press or 'h2'}")
        await expect(title).to_have_text(heading)
        await expect(current).to_have_text([quote])
        await expect(current).to_be_in_viewport()
        await expect(page.locator("dialog mark")).to_have_text([QUOTE, OTHER_QUOTE])
    await page.click("dialog .next")
    await expect(title).to_have_text("Source 2")
    await expect(page.locator("dialog .previous")).to_be_focused()  # there is no next one to press again


async def test_a_document_that_changed_shows_every_quote_in_the_passage_as_it_was(page: Page, scene: Scene) -> None:
    scene.store(answers.DOCUMENT_ID, "Something else entirely.")
    scene.script = [*answers.two_quotes()]
    await ask(page)
    await page.click(".source-title >> nth=0")
    await expect(page.locator("dialog .note")).to_contain_text("The document has changed since this answer.")
    await expect(page.locator("dialog mark")).to_have_text([QUOTE, OTHER_QUOTE])
