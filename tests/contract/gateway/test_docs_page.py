"""The API's manual in a real browser: drawn from /openapi.json, without a word to the console, searchable."""

from __future__ import annotations

import pytest
from playwright.async_api import async_playwright

from gateway.routes import contract_routes
from tests.rig import chromium_path


@pytest.fixture
async def page():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        opened = await browser.new_page()
        yield opened
        await browser.close()


async def test_the_manual_shows_every_rpc_and_says_nothing_to_the_console(gateway, page):
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{gateway.url}/docs")
    await page.wait_for_selector("main:not([aria-busy])")
    shown = await page.locator(".route .path").all_inner_texts()
    assert len(shown) >= len(contract_routes())
    assert "/v1/collections/{collection}:ask" in shown
    assert said == []


async def test_a_route_opens_with_its_fields_and_is_found_by_word(gateway, page):
    await page.goto(f"{gateway.url}/docs")
    await page.wait_for_selector("main:not([aria-busy])")
    await page.fill("#find", ":streamAsk")
    found = page.locator(".route:visible")
    assert await found.count() == 1
    await found.locator("summary").click()
    await found.locator(".parts h3").first.wait_for()
    text = await found.inner_text()
    assert "event: answer.delta" in text
    assert "topK" in text
    assert "How many passages to answer from" in text
