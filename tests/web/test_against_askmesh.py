"""The page in front of the real thing: `askmesh up` with its own documents, nothing scripted."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

from bench.installation import START_LIMIT_S, Installation, start, stop
from tests.web.conftest import WatchedPage
from tests.web.pages import ask, shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

POISON = '<img src=x onerror="window.poisoned = 1"><script>window.poisoned = 2</script>'


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def askmesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    made = await asyncio.to_thread(start, tmp_path_factory.mktemp("data"))
    deadline = time.monotonic() + START_LIMIT_S
    while not any("Ctrl-C" in line for line in made.lines):
        assert time.monotonic() < deadline, "\n".join(made.lines)
        await asyncio.sleep(0.05)  # another process's progress has no event to wait for
    yield made
    assert await asyncio.to_thread(stop, made) == 0, "\n".join(made.lines)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_live(browser: Browser) -> WatchedPage:
    return await WatchedPage.opened(browser, reduced_motion="reduce")


@pytest_asyncio.fixture(loop_scope="session")
async def live(askmesh: Installation, kept_live: WatchedPage) -> AsyncIterator[Page]:
    page = kept_live.page
    await page.goto(askmesh.url)
    await expect(page.locator("#connection")).to_have_text("Connected")
    await expect(page.locator(".document")).not_to_have_count(0)
    yield page
    complaints = await kept_live.complaints()
    await kept_live.forget(askmesh.url)
    assert complaints == []


async def answered(page: Page, question: str) -> None:
    await ask(page, question)
    turn = page.locator(".turn").first
    await expect(turn.locator(".question")).to_have_text(question)
    await expect(turn.locator(".figures")).to_be_visible()


async def store(askmesh: Installation, document_id: str, text: str, **query: str) -> None:
    async with httpx.AsyncClient(base_url=askmesh.url) as client:
        response = await client.put(
            f"/v1/collections/docs/documents/{document_id}",
            content=text.encode(),
            params=query,
            headers={"content-type": "text/markdown"},
        )
        response.raise_for_status()


async def test_an_example_is_answered_and_cited_from_our_own_documents(live: Page) -> None:
    await live.click("#example-list button >> nth=0")
    turn = live.locator(".turn").first
    await expect(turn.locator(".figures")).to_be_visible()
    for service in ("gateway", "orchestrator", "retriever"):
        await expect(turn.locator(".prose")).to_contain_text(service)
    await expect(turn.locator(".cite")).not_to_have_count(0)
    await shot(live, "askmesh-answer-1280")


async def test_a_quote_is_found_at_its_offsets_in_the_document(live: Page) -> None:
    await answered(live, "What does a cached answer hold?")
    quote = await live.locator(".sources mark").first.inner_text()
    await live.locator(".source-title").first.click()
    marked = live.locator("dialog mark")
    await expect(marked).to_be_in_viewport()
    assert " ".join((await marked.inner_text()).split()) == " ".join(quote.split())


async def test_two_sentences_from_one_passage_each_lead_to_their_own_words(askmesh: Installation, live: Page) -> None:
    said = ["A lighthouse keeper lights the lamp at dusk.", "A lighthouse keeper winds the clockwork at dawn."]
    await store(askmesh, "lighthouse.md", f"# The lighthouse\n\n{said[0]} The tea is brewed meanwhile. {said[1]}")
    await answered(live, "What does a lighthouse keeper do?")
    turn = live.locator(".turn").first
    await expect(turn.locator(".prose")).to_have_text(f"{said[0]} 1 {said[1]} 1")
    await expect(turn.locator(".source[data-marker='1'] mark")).to_have_text(said)
    for use, sentence in enumerate(said):
        await turn.locator(".cite").nth(use).click()
        await expect(turn.locator("mark[aria-current]")).to_have_text([sentence])
    await turn.locator(".source-title").first.click()
    await expect(live.locator("dialog mark")).to_have_text(said)
    await expect(live.locator("dialog mark[aria-current]")).to_have_text([said[1]])


async def test_the_same_question_again_is_an_exact_hit(live: Page) -> None:
    question = "What is the data folder?"
    await answered(live, question)
    await answered(live, question)
    await expect(live.locator(".turn").first.locator(".badge").first).to_contain_text("Cached, exact")
    await expect(live.locator("#totals")).to_contain_text("Cache hits1")


async def test_a_file_is_added_found_asked_alone_and_deleted(live: Page) -> None:
    content = (
        "# Leave\n\nAn employee has thirty-one days of leave in the year of the comet 🌠. It is granted by Ms Özil."
    )
    upload: FilePayload = {"name": "leave days.md", "mimeType": "text/markdown", "buffer": content.encode()}
    await live.set_input_files("#files", upload)
    await expect(live.locator(".uploads li")).to_contain_text("Stored, 1 chunk")
    await live.locator(".document .row-button", has_text="leave days.md").click()
    await expect(live.locator(".chip")).to_have_text("document_id is leave days.md")
    await answered(live, "How many days of leave has an employee?")
    await expect(live.locator(".prose").first).to_contain_text("thirty-one days")
    await expect(live.locator(".turn").first.locator(".source-title")).to_have_text(["Leave"])
    await live.locator(".source-title").first.click()
    await expect(live.locator("dialog mark")).to_contain_text("thirty-one days")
    await live.keyboard.press("Escape")
    await live.get_by_role("button", name="Delete: Leave").click()
    await live.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(live.locator(".document .row-button", has_text="leave days.md")).to_have_count(0)


async def test_a_file_that_is_not_what_it_says_gets_a_reason(live: Page) -> None:
    upload: FilePayload = {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 not really"}
    await live.set_input_files("#files", upload)
    await expect(live.locator(".uploads li[data-state=failed]")).to_contain_text("The file is not what its name says.")


async def test_a_file_over_the_limit_says_so(live: Page, tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    with big.open("wb") as file:
        file.truncate(60 * 1024 * 1024)  # more than a browser may hand over at once
    await live.set_input_files("#files", big)
    failed = live.locator(".uploads li[data-state=failed]")
    await expect(failed).to_contain_text(re.compile("over the server's limit|more than the server takes"))


async def test_a_filter_on_an_unknown_field_is_refused_in_words(live: Page) -> None:
    await live.click("#add-filter")
    await live.fill("#filter-field", "no_such_field")
    await live.fill("#filter-value", "x")
    await live.click("#filter-form >> text=Add")
    await ask(live, "Anything?")
    await expect(live.locator(".notice.error")).to_contain_text("Reason FILTER_INVALID. Request id")


async def test_a_poisoned_document_is_answered_from_as_text(askmesh: Installation, live: Page) -> None:
    text = f"# Zebra {POISON}\n\nThe zebra password is {POISON} and nobody may know the zebra password."
    await store(askmesh, "zebra.md", text, title=f"Zebra {POISON}", uri="javascript:window.poisoned=3", source=POISON)
    await live.reload()
    await expect(live.locator(".document .row-title", has_text=f"Zebra {POISON}")).to_be_visible()
    await answered(live, "What is the zebra password?")
    await live.locator(".source-title", has_text="Zebra").first.click()
    await expect(live.locator("dialog .document-text")).to_contain_text(POISON)
    assert await live.locator("img, body script, a[href^='javascript']").count() == 0
    assert await live.evaluate("window.poisoned") is None


async def test_every_file_of_the_page_is_served_under_its_policy(askmesh: Installation) -> None:
    async with httpx.AsyncClient(base_url=askmesh.url) as client:
        page = await client.get("/")
        script = await client.get("/main.js")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "'unsafe" not in page.headers["content-security-policy"]
