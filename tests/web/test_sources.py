"""Sources: from a marker to its passage, and from a passage to the document's own words."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.web import answers
from tests.web.contract_server import Scene
from tests.web.pages import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_marker_leads_to_its_source(page: Page) -> None:
    await ask(page)
    await page.click(".prose .cite")
    await expect(page.locator(".source[data-marker='1']")).to_be_focused()


async def test_cited_passages_stand_apart_from_those_also_found(page: Page) -> None:
    await ask(page)
    await expect(page.locator(".sources > .source-list .source-title")).to_have_text(["The answer cache"])
    await expect(page.locator(".also-found > summary")).to_have_text("Also found: 1 passage")
    await page.click(".also-found > summary")
    await expect(page.locator(".also-found .source-where")).to_contain_text("Snapshots · page 4")


async def test_the_quoted_words_are_marked_in_the_passage(page: Page) -> None:
    await ask(page)
    await expect(page.locator(".sources mark")).to_have_text(answers.QUOTE)


async def test_a_preview_leaves_markdowns_signs_out(page: Page, scene: Scene) -> None:
    text = "# The cache\n\nIt is **never stale**, 2 ** 3 is 8.\n\n## More"
    source = answers.source(text=text, end_char=len(text))
    scene.script[1:3] = [answers.retrieved(source), answers.cited(source, "It is **never stale**, 2 ** 3 is 8.")]
    await ask(page)
    await expect(page.locator(".sources .passage")).to_have_text("The cache It is never stale, 2 ** 3 is 8. More")


async def test_an_open_source_marks_the_quote_beyond_characters_outside_the_basic_plane(
    page: Page, scene: Scene
) -> None:
    prefix = "👩‍🚀 \U0001d49c long 🗄 beginning.\n\n" * 40
    scene.store(answers.DOCUMENT_ID, prefix + answers.TEXT + "\n\nThe end 🏁.", title="The answer cache")
    placed = answers.source(start_char=len(prefix), end_char=len(prefix) + len(answers.TEXT))
    scene.script[1:3] = [answers.retrieved(placed), answers.cited(placed)]
    await ask(page)
    await page.click(".source-title")
    await expect(page.locator("dialog mark")).to_have_text([answers.QUOTE])
    await expect(page.locator("dialog .passage-range")).to_have_text(answers.TEXT, use_inner_text=True)
    await expect(page.locator("dialog mark")).to_be_in_viewport()


async def test_a_document_that_changed_shows_the_passage_as_it_was(page: Page, scene: Scene) -> None:
    scene.store(answers.DOCUMENT_ID, "Something else entirely.")
    await ask(page)
    await page.click(".source-title")
    await expect(page.locator("dialog .note")).to_contain_text("The document has changed since this answer.")
    await expect(page.locator("dialog mark")).to_have_text(answers.QUOTE)


async def test_a_document_that_is_gone_shows_the_passage_as_it_was(page: Page, scene: Scene) -> None:
    scene.documents.clear()
    await ask(page)
    await page.click(".source-title")
    await expect(page.locator("dialog .note")).to_contain_text("This document is not there")
    await expect(page.locator("dialog mark")).to_have_text(answers.QUOTE)


async def test_sources_can_be_paged_through(page: Page) -> None:
    await ask(page)
    await page.click(".source-title")
    await page.click("dialog .next")
    await expect(page.locator("dialog h2")).to_have_text("Source 2")
    await expect(page.locator("dialog .next")).to_be_disabled()
    await page.click("dialog .previous")
    await expect(page.locator("dialog mark")).to_have_text(answers.QUOTE)


async def test_only_a_part_of_a_long_document_is_shown_until_more_is_asked_for(page: Page, scene: Scene) -> None:
    prefix = "Words before the passage. " * 400
    scene.store(answers.DOCUMENT_ID, prefix + answers.TEXT)
    placed = answers.source(start_char=len(prefix), end_char=len(prefix) + len(answers.TEXT))
    scene.script[1:3] = [answers.retrieved(placed), answers.cited(placed)]
    await ask(page)
    await page.click(".source-title")
    shown = page.locator("dialog .document-text")
    before = len(await shown.inner_text())
    await page.click("dialog >> text=Show more above")
    assert len(prefix) > before
    assert len(await shown.inner_text()) > before + 2000


async def test_a_source_can_be_asked_alone(page: Page, scene: Scene) -> None:
    await ask(page)
    await page.click(".source-title")
    await page.click("text=Ask only this")
    await expect(page.locator(".chip")).to_have_text("document_id is caching.md")
    await expect(page.locator("#question")).to_be_focused()


async def test_a_source_of_another_collection_is_asked_where_it_is(page: Page) -> None:
    await ask(page)
    await name_collection(page, "handbook")
    await page.click(".source-title")
    await page.click("text=Ask only this")
    await expect(page.locator("#collection")).to_have_value("docs")
    await expect(page.locator(".chip")).to_have_text("document_id is caching.md")


async def test_a_document_is_not_asked_for_in_a_collection_chosen_afterwards(page: Page) -> None:
    await ask(page)
    await page.click(".source-title")
    await page.click("text=Ask only this")
    await expect(page.locator(".chip")).to_have_count(1)
    await name_collection(page, "handbook")
    await expect(page.locator(".chip")).to_have_count(0)


async def name_collection(page: Page, name: str) -> None:
    await page.select_option("#collection", label="New collection")
    await page.fill("#collection-name", name)
    await page.keyboard.press("Enter")
    await expect(page.locator("#collection")).to_have_value(name)
