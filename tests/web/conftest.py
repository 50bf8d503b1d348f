"""A browser, and pages in it that fail their test when the content security policy or a script complains.

Everything runs in one event loop of the session: the browser's driver, the scripted server and the tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.rig import chromium_path
from tests.web.contract_server import ContractServer, Scene, contract_server, demo_scene
from tests.web.pages import DESKTOP, NewPage

# A sandbox, a GPU and background traffic: what a container has not, and a test must not have.
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000  # shared machines stall for seconds

# Reported to the page itself by the browser, whatever the page does.
WATCH_POLICY = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium_path()
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def contract() -> AsyncIterator[ContractServer]:
    async with contract_server() as server:
        yield server


@pytest.fixture
def scene(contract: ContractServer) -> Scene:
    """What the services say; a test changes it before it asks."""
    contract.scene = demo_scene()
    return contract.scene


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser) -> AsyncIterator[NewPage]:
    """Opens a page in a browser profile of its own; at the end no page may have complained."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    pages: list[Page] = []

    async def opened(url: str, **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(WATCH_POLICY)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _note(complaints, message))
        pages.append(page)
        await page.goto(url)
        return page

    yield opened
    for page in pages:
        complaints += await page.evaluate("window.violations ?? []")
    for context in contexts:
        await context.close()
    assert complaints == []


def _note(complaints: list[str], message: Any) -> None:
    # The browser itself reports every HTTP status over 399 as an error; those are the tests' own doing.
    if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
        complaints.append(message.text)


@pytest_asyncio.fixture(loop_scope="session")
async def page(contract: ContractServer, scene: Scene, new_page: NewPage) -> Page:
    """The page on a desktop, with the demo scene behind it."""
    opened = await new_page(contract.url)
    await expect(opened.locator("#connection")).to_have_text("Connected")
    return opened
