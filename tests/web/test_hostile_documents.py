"""A document may hold anything. The page shows it as the characters it is, and runs none of it."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.web import answers
from tests.web.contract_server import ContractServer, Scene
from tests.web.pages import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = "<script>window.poisoned = 'script'</script>"
IMAGE = "<img src=x onerror=\"window.poisoned = 'image'\">"
LINK = "javascript:window.poisoned='link'"
BREAKOUT = '"><svg onload="window.poisoned=\'svg\'">'
QUOTE = f"Read {SCRIPT} and {IMAGE} now."
DOCUMENT_ID = f"../{BREAKOUT}/{IMAGE}?view=#.md"


@pytest.fixture
def poisoned(scene: Scene) -> Scene:
    """Every text a document's owner chooses, and what a model may repeat of it."""
    source = answers.source(
        document_id=DOCUMENT_ID,
        title=f"Title {SCRIPT}",
        uri=LINK,
        source=IMAGE,
        section=BREAKOUT,
        text=QUOTE,
        end_char=len(QUOTE),
    )
    report = [answers.degradation("DENSE_UNAVAILABLE", SCRIPT, IMAGE)]
    text = f"{QUOTE} [click]({LINK}) **{IMAGE}** `{SCRIPT}` [1]\n\n```\n{SCRIPT}\n```\n\n- {IMAGE}"
    scene.script = [
        answers.started(),
        answers.retrieved(source, degraded=report),
        answers.cited(source, QUOTE),
        answers.delta(text),
        answers.completed(degraded=report),
    ]
    scene.documents.clear()
    scene.store(DOCUMENT_ID, QUOTE, title=f"Title {SCRIPT}", uri=LINK, source=IMAGE, content_type=SCRIPT)
    scene.documents[DOCUMENT_ID].metadata[IMAGE].string_value = SCRIPT
    scene.fields = {IMAGE: "FIELD_TYPE_STRING"}
    return scene


async def foreign_elements(page: Page) -> int:
    return await page.locator("body script, img, svg[onload], iframe, [onerror], a[href^='javascript']").count()


async def test_poison_is_shown_as_text_and_does_nothing(poisoned: Scene, page: Page) -> None:
    await expect(page.locator(".document .row-title")).to_have_text(f"Title {SCRIPT}")
    await expect(page.locator(".group-name")).to_have_text(IMAGE)
    await ask(page, f"What of {IMAGE}?")
    await expect(page.locator(".figures")).to_be_visible()
    await expect(page.locator(".question")).to_have_text(f"What of {IMAGE}?")
    await expect(page.locator(".prose")).to_contain_text(QUOTE)
    await expect(page.locator(".prose")).to_contain_text(f"[click]({LINK})")
    await expect(page.locator(".sources mark")).to_have_text(QUOTE)
    await page.click("#tab-history")
    await expect(page.locator(".history .row-title")).to_have_text(f"What of {IMAGE}?")
    assert await foreign_elements(page) == 0
    assert await page.evaluate("window.poisoned") is None


async def test_a_poisoned_document_opens_as_text(poisoned: Scene, page: Page) -> None:
    await ask(page)
    await page.click(".source-title")
    await expect(page.locator("dialog mark")).to_have_text(QUOTE)
    await page.click("dialog summary")
    await expect(page.locator("dialog .facts")).to_contain_text(LINK)
    await expect(page.locator("dialog .facts a")).to_have_count(0)
    await page.click("text=Ask only this")
    await expect(page.locator(".chip")).to_have_text(f"document_id is {DOCUMENT_ID}")
    assert await foreign_elements(page) == 0
    assert await page.evaluate("window.poisoned") is None


async def test_only_web_addresses_become_links(page: Page, scene: Scene) -> None:
    await ask(page)
    link = page.locator(".sources a")
    await expect(link).to_have_attribute("href", "https://example.org/caching")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(link).to_have_count(1)


@pytest.mark.parametrize("sink", ["innerHTML", "outerHTML", "insertAdjacentHTML"])
async def test_the_browser_itself_refuses_markup_from_strings(
    contract: ContractServer, scene: Scene, browser: Browser, sink: str
) -> None:
    page = await browser.new_page()
    await page.goto(contract.url)
    refused = await page.evaluate(
        """(sink) => {
          const node = document.createElement("p");
          try {
            if (sink === "insertAdjacentHTML") node.insertAdjacentHTML("beforeend", "<b>x</b>");
            else node[sink] = "<b>x</b>";
          } catch (error) {
            return error.name;
          }
          return "";
        }""",
        sink,
    )
    await page.context.close()
    assert refused == "TypeError"
