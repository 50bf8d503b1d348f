"""How the page looks: themes, a phone's width, and what axe says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.async_api import Page, expect

from tests.web import answers
from tests.web.contract_server import ContractServer, Scene
from tests.web.pages import PHONE, NewPage, ask, shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
GRAVE = {"serious", "critical"}


def rich_scene(scene: Scene) -> None:
    text = (
        "A cached answer holds the **snapshot** it was made at [1]. A hit needs that snapshot to be the current "
        "one, so a write to the collection makes every older entry miss at once [2]. No time-to-live is relied on [1]."
        "\n\n"
        "- `DEFAULT` uses the cache\n- `BYPASS` does not"
    )
    first, second, third = (answers.source(number) for number in (1, 2, 3))
    report = [
        answers.degradation("DENSE_UNAVAILABLE", "dense", "Only words were compared.", 250.0),
        answers.degradation("MODEL_COLD", "generate", milliseconds=12.0),
    ]
    scene.script = [
        answers.started(),
        answers.retrieved(first, second, third, degraded=report[:1]),
        answers.cited(first),
        answers.cited(second),
        answers.cited(first, answers.OTHER_QUOTE),
        answers.delta(text),
        answers.completed(markers=(1, 2), degraded=report),
    ]
    for number in range(6):
        scene.store(
            f"handbook/chapter-{number}.md", "text", title=f"Chapter {number}", source="handbook", chunk_count=12
        )


async def with_an_answer(page: Page) -> None:
    await ask(page)
    await expect(page.locator(".turn .figures")).to_be_visible()
    await page.locator(".cite").last.click()
    await expect(page.locator(".sources mark[aria-current]")).to_have_text(answers.OTHER_QUOTE)


async def widest(page: Page) -> int:
    return int(await page.evaluate("document.documentElement.scrollWidth"))


async def test_the_page_follows_the_system_until_the_reader_chooses(contract, scene, new_page: NewPage) -> None:
    page = await new_page(contract.url, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(ground)
    await page.click("#theme")
    await expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    light = await page.evaluate(ground)
    await page.reload()
    assert [dark, light, await page.evaluate(ground)] == ["rgb(19, 22, 24)", "rgb(246, 246, 243)", light]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pictures_at_desktop_width(contract, scene: Scene, new_page: NewPage, theme: str) -> None:
    rich_scene(scene)
    page = await new_page(contract.url, color_scheme=theme, reduced_motion="reduce")
    await expect(page.locator("#connection")).to_have_text("Connected")
    await expect(page.locator(".document")).to_have_count(8)
    await shot(page, f"empty-1280-{theme}")
    await with_an_answer(page)
    await shot(page, f"answer-1280-{theme}")
    await page.click(".source-title")
    await expect(page.locator("dialog mark")).to_have_text([answers.QUOTE, answers.OTHER_QUOTE])
    await shot(page, f"reader-1280-{theme}", full=False)
    assert await widest(page) == 1280


async def test_nothing_sticks_out_at_a_phones_width(contract: ContractServer, scene: Scene, new_page: NewPage) -> None:
    rich_scene(scene)
    page = await new_page(contract.url, viewport=PHONE, has_touch=True, reduced_motion="reduce")
    widths = [await widest(page)]
    await shot(page, "empty-375")
    await page.click("#toggle-options")
    await page.click("#add-filter")
    widths.append(await widest(page))
    await shot(page, "forms-375")
    await with_an_answer(page)
    widths.append(await widest(page))
    await shot(page, "answer-375")
    await page.click(".source-title")
    await expect(page.locator("dialog mark[aria-current]")).to_be_visible()
    widths.append(await widest(page))
    await shot(page, "reader-375", full=False)
    await page.keyboard.press("Escape")
    await page.click("#open-library")
    widths.append(await widest(page))
    await shot(page, "library-375")
    assert widths == [375] * 5


async def grave_findings(page: Page) -> Sequence[str]:
    await page.add_script_tag(path=AXE)
    found: dict[str, Any] = await page.evaluate("axe.run(document)")
    return [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_serious(contract: ContractServer, scene: Scene, new_page: NewPage, theme: str) -> None:
    rich_scene(scene)
    # axe is a script of another origin's making: only here is the policy that would stop it set aside.
    page = await new_page(contract.url, bypass_csp=True, color_scheme=theme, reduced_motion="reduce")
    await expect(page.locator(".document")).to_have_count(8)
    findings = [*await grave_findings(page)]
    await with_an_answer(page)
    await page.click("#toggle-options")
    await page.click("#add-filter")
    findings += await grave_findings(page)
    await page.click(".source-title")
    await expect(page.locator("dialog mark[aria-current]")).to_be_visible()
    findings += await grave_findings(page)
    assert findings == []
