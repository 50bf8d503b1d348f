"""Asking: the stream, its end in every way it can end, and what is shown around the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import CredentialsMissing, FilterInvalid, Overloaded, RetrieverUnavailable
from tests.web import answers
from tests.web.contract_server import ContractServer, Scene
from tests.web.pages import NewPage, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD_S = 15


async def test_text_appears_before_the_answer_ends(page: Page, scene: Scene) -> None:
    more = asyncio.Event()
    scene.script = [
        answers.started(),
        answers.retrieved(),
        answers.cited(),
        answers.delta("A hit needs the current "),
        more,
        answers.delta("snapshot [1]."),
        answers.completed(),
    ]
    await ask(page)
    await expect(page.locator(".prose")).to_have_text("A hit needs the current")
    await expect(page.locator(".turn")).to_have_attribute("aria-busy", "true")
    await expect(page.locator(".source")).to_have_count(1)
    more.set()
    await expect(page.locator(".prose")).to_have_text("A hit needs the current snapshot 1.")
    await expect(page.locator(".turn")).to_have_attribute("aria-busy", "false")


async def test_enter_asks_and_shift_enter_breaks_the_line(page: Page, scene: Scene) -> None:
    await page.locator("#question").press_sequentially("first")
    await page.keyboard.press("Shift+Enter")
    await page.locator("#question").press_sequentially("second")
    assert scene.asks == []
    await page.keyboard.press("Enter")
    await expect(page.locator(".question")).to_have_text("first\nsecond", use_inner_text=True)
    assert [one["body"]["question"] for one in scene.asks] == ["first\nsecond"]


async def test_the_request_says_what_the_options_say(page: Page, scene: Scene) -> None:
    await page.click("#toggle-options")
    await page.fill("#top-k", "99")
    await page.select_option("#cache-policy", "CACHE_POLICY_REFRESH")
    await ask(page, "How?")
    await expect(page.locator(".figures")).to_be_visible()
    assert scene.asks[0]["body"] == {"question": "How?", "topK": 20, "cachePolicy": "CACHE_POLICY_REFRESH"}


async def test_an_answer_that_comes_whole_looks_the_same(page: Page, scene: Scene) -> None:
    await ask(page)
    await expect(page.locator(".figures")).to_be_visible()
    streamed = await page.locator(".turn").inner_text()
    await page.click("#toggle-options")
    await page.uncheck("#stream")
    await ask(page)
    await expect(page.locator(".turn .figures")).to_have_count(2)
    assert await page.locator(".turn").first.inner_text() == streamed


@pytest.mark.parametrize("stop", ["button", "Escape"])
async def test_stop_ends_the_answer_here_and_at_the_server(page: Page, scene: Scene, stop: str) -> None:
    scene.script = [answers.started(), answers.retrieved(), answers.delta("So far."), asyncio.Event()]
    await ask(page)
    await expect(page.locator(".prose")).to_have_text("So far.")
    await (page.click("#stop") if stop == "button" else page.keyboard.press(stop))
    await expect(page.locator(".notice.partial")).to_have_text("Partial: you stopped this answer.")
    await expect(page.locator("#send")).to_be_visible()
    await asyncio.wait_for(scene.caller_left.wait(), HELD_S)


async def test_a_degraded_answer_says_each_reason_in_words(page: Page, scene: Scene) -> None:
    first = answers.degradation("LEXICAL_UNAVAILABLE", "lexical", "Only meaning was compared.", 250)
    second = answers.degradation("MODEL_COLD", "generate", retry_after_s=30)
    scene.script = [
        answers.started(),
        answers.retrieved(degraded=[first]),
        answers.delta("Text."),
        answers.completed(markers=(), degraded=[first, second]),
    ]
    await ask(page)
    await expect(page.locator(".degraded li")).to_have_text(
        [
            "Search by words did not answer; these are the results of search by meaning. Only meaning was compared."
            " (lexical, 250 ms)",
            "The language model is still loading; the answer is quoted from the passages. Worth asking again in 30 s."
            " (generate)",
        ]
    )


async def test_the_words_cover_every_degraded_reason_of_the_contract(page: Page) -> None:
    reasons = [value.name for value in pb.DegradedReason.DESCRIPTOR.values if value.number]
    said = await page.evaluate(
        "async (reasons) => { const words = await import('/words.js');"
        " return reasons.map((reason) => words.degradedWords({ reason })); }",
        reasons,
    )
    assert len(set(said)) == len(reasons)
    assert not [text for text in said if "was left out (" in text]


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("DEADLINE", "Partial: time ran out."),
        ("ERROR", "Partial: the model broke off."),
        ("LENGTH", "Partial: the length limit was reached."),
    ],
)
async def test_a_partial_answer_is_marked(page: Page, scene: Scene, finish: str, words: str) -> None:
    scene.script = [
        answers.started(),
        answers.retrieved(),
        answers.delta("Half an ans"),
        answers.completed(finish=finish, is_partial=finish != "LENGTH", markers=()),
    ]
    await ask(page)
    await expect(page.locator(".notice.partial")).to_have_text(words)


@pytest.mark.parametrize(
    ("cache", "badge"),
    [
        (("MISS", 0), "Cache miss"),
        (("HIT_EXACT", 1), "Cached, exact"),
        (("HIT_SEMANTIC", 0.937), "Cached, 93 % alike"),
        (("JOINED", 0), "Shared with an equal ask"),
        (("SKIPPED", 0), "Cache not used"),
    ],
)
async def test_the_cache_badge_says_where_the_answer_came_from(
    page: Page, scene: Scene, cache: tuple[str, float], badge: str
) -> None:
    scene.script[0] = answers.started(*cache)
    await ask(page)
    await expect(page.locator(".badge").first).to_have_text(badge)


@pytest.mark.parametrize(
    ("grounding", "badge"),
    [
        ("SUPPORTED", "Supported by its sources"),
        ("PARTIAL", "Partly supported"),
        ("NOT_FOUND", "Not found in the sources"),
    ],
)
async def test_the_grounding_badge_says_how_far_to_trust_it(
    page: Page, scene: Scene, grounding: str, badge: str
) -> None:
    scene.script[-1] = answers.completed(grounding=grounding)
    await ask(page)
    await expect(page.locator(".badge").last).to_have_text(badge)


async def test_a_cached_answer_says_its_age_and_can_be_answered_afresh(page: Page, scene: Scene) -> None:
    scene.script[0] = answers.started("HIT_EXACT", 1, age_seconds=125)
    await ask(page)
    await expect(page.locator(".badge").first).to_have_text("Cached, exact, 2 min old")
    await page.click(".turn-actions >> text=Answer afresh")
    await expect(page.locator(".turn .figures")).to_have_count(2)
    assert [one["body"]["cachePolicy"] for one in scene.asks] == ["CACHE_POLICY_DEFAULT", "CACHE_POLICY_REFRESH"]


async def test_history_of_another_version_does_no_harm(page: Page) -> None:
    await page.evaluate(
        """localStorage.setItem("askmesh.history", '[{"question":"Old?","chips":[{"field":7},null]},4]')"""
    )
    await page.reload()
    await page.click("#tab-history")
    await page.click("text=Old?")
    await expect(page.locator("#question")).to_have_value("Old?")


async def test_figures_show_times_tokens_and_cost(page: Page) -> None:
    await ask(page)
    await expect(page.locator(".figures > dl > div")).to_have_text(
        ["First token41 ms", "Total120 ms", "Tokensabout 1,420 in, 58 out", "Cost0.00042 USD"]
    )


async def test_totals_run_along(page: Page, scene: Scene) -> None:
    await ask(page)
    await expect(page.locator(".turn .figures")).to_have_count(1)
    scene.script[0] = answers.started("HIT_EXACT", 1)
    scene.script[-1] = answers.completed(total_ms=20)
    await ask(page)
    await expect(page.locator("#totals > div")).to_have_text(
        ["Asked2", "Average70 ms", "Last20 ms", "Cache hits1 (50 %)", "Cost0.00084 USD"]
    )


async def test_a_refusal_names_its_reason_its_request_and_when_to_retry(page: Page, scene: Scene) -> None:
    scene.refusal = Overloaded("too many", retry_after_s=1.2)
    await ask(page)
    box = page.locator(".notice.error")
    await expect(box).to_contain_text("Reason OVERLOADED. Request id request-1")
    await expect(box.get_by_role("button")).to_be_disabled()
    scene.refusal = None
    await box.get_by_role("button", name="Try again", exact=True).click()
    await expect(page.locator(".turn .figures")).to_have_count(1)


async def test_a_bad_filter_shows_which_field(page: Page, scene: Scene) -> None:
    scene.refusal = FilterInvalid.field("filter.comparison.field", "the collection has no field 'colour'")
    await ask(page)
    await expect(page.locator(".notice.error li")).to_contain_text("the collection has no field 'colour'")


async def test_an_error_after_the_first_words_keeps_them(page: Page, scene: Scene) -> None:
    scene.script = [
        answers.started(),
        answers.retrieved(),
        answers.delta("What was said."),
        RetrieverUnavailable("the retriever does not answer"),
    ]
    await ask(page)
    await expect(page.locator(".notice.error")).to_contain_text("The retriever is down and no cached answer fits.")
    await expect(page.locator(".notice.partial")).to_be_visible()
    await expect(page.locator(".prose")).to_have_text("What was said.")


async def test_a_broken_connection_is_resumed_where_it_broke(page: Page, scene: Scene) -> None:
    scene.script = [
        answers.started(),
        answers.retrieved(),
        answers.delta("Before "),
        None,
        answers.delta("and after."),
        answers.completed(markers=()),
    ]
    await ask(page)
    await expect(page.locator(".prose")).to_have_text("Before and after.")
    await expect(page.locator(".figures")).to_be_visible()
    assert scene.resumed_after == ["answer-1:3"]
    assert len(scene.asks) == 1


async def test_history_keeps_ten_questions_to_ask_again(page: Page) -> None:
    for number in range(11):
        await ask(page, f"Question {number}?")
        await expect(page.locator(".turn .figures")).to_have_count(number + 1)
    await page.reload()
    await page.click("#tab-history")
    await expect(page.locator(".history li")).to_have_count(10)
    await page.click("text=Question 3?")
    await expect(page.locator("#question")).to_have_value("Question 3?")
    await page.click("text=Clear history")
    await expect(page.locator(".history li")).to_have_count(0)
    assert await page.evaluate("localStorage.getItem('askmesh.history')") == "[]"


async def test_a_token_is_asked_for_sent_and_kept_in_this_tab_only(page: Page, scene: Scene) -> None:
    scene.refusal = CredentialsMissing("credentials are needed")
    await ask(page)
    await page.fill("#token", "secret-key")
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog")).to_have_count(0)
    scene.refusal = None
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".figures")).to_be_visible()
    assert [one["token"] for one in scene.asks] == ["", "Bearer secret-key"]
    assert "secret-key" not in await page.evaluate("JSON.stringify(localStorage)")


async def test_everything_that_is_needed_to_ask_works_without_a_mouse(page: Page, scene: Scene) -> None:
    await page.keyboard.press("/")
    await expect(page.locator("#question")).to_be_focused()
    await page.keyboard.type("Why?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".figures")).to_be_visible()
    await tab_to(page, ".cite")
    await page.keyboard.press("Enter")
    await expect(page.locator(".source").first).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog mark")).to_have_text(answers.QUOTE)
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await expect(page.locator(".source-title").first).to_be_focused()


async def tab_to(page: Page, selector: str) -> None:
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached with the Tab key")


async def test_a_screen_reader_hears_whole_sentences(page: Page, scene: Scene) -> None:
    more = asyncio.Event()
    scene.script = [
        answers.started(),
        answers.retrieved(),
        answers.delta("Version 1.5 is first [1]. The sec"),
        more,
        answers.delta("ond follows."),
        answers.completed(),
    ]
    await ask(page)
    log = page.locator("#announce-answer p")
    await expect(log).to_have_text(["Version 1.5 is first, source 1."])
    more.set()
    await expect(log).to_have_text(["Version 1.5 is first, source 1.", "The second follows."])
    await expect(page.locator("#announce-status")).to_have_text("Answer complete.")


async def test_the_connection_badge_says_when_the_server_is_not_ready(
    contract: ContractServer, scene: Scene, new_page: NewPage
) -> None:
    scene.is_ready = False
    page = await new_page(contract.url)
    await expect(page.locator("#connection")).to_have_text("Not ready")


async def test_an_example_asks_itself(page: Page, scene: Scene) -> None:
    await page.click("#example-list button >> nth=1")
    await expect(page.locator(".figures")).to_be_visible()
    asked: list[dict[str, Any]] = scene.asks
    assert asked[0]["body"]["question"] == "Why is a cached answer never stale?"
