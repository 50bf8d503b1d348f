"""The extractive generator, held to the port's suite and to what it alone promises."""

from __future__ import annotations

import re

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, EmbedderUnavailable
from orchestrator.citations import CitationStream
from orchestrator.generation.extractive import MAX_SENTENCES, ExtractiveGenerator
from orchestrator.grounding import NOT_FOUND_TEXT, assess
from orchestrator.listings import MAX_LISTING_CHARS
from orchestrator.types import CitationAdded, FinishReason, Grounding, Prompt, Sampling, TextPiece
from tests.contract.generation.suite import WAIT_S, GeneratorRig, GeneratorSuite, collected, text_of
from tests.unit.orchestrator.embedders import BrokenEmbedder, WordEmbedder
from tests.unit.orchestrator.passages import AMAZON, TESLA, passage

SOURCES = (passage(1, TESLA, start_char=50), passage(2, AMAZON))


def ask(question: str, sources=SOURCES) -> Prompt:
    return Prompt("", "", question, tuple(sources), 0, is_estimate=True)


async def answered(generator: ExtractiveGenerator, prompt: Prompt, **sampling):
    return await collected(generator.generate(prompt, Sampling(**sampling), budget=Budget.of(WAIT_S)))


class TestSuite(GeneratorSuite):
    @pytest.fixture(params=["embedder", "lexical"])
    def rig(self, request) -> GeneratorRig:
        """No `stopped`: the engine is the coroutine itself. No `hold`: it only pauses where its reader does."""
        text = "Tesla moved to Paris. Tesla moved to Prague."
        generator = ExtractiveGenerator(WordEmbedder() if request.param == "embedder" else None)
        return GeneratorRig(
            generator,
            ask("Where was Tesla moved?", [passage(1, text)]),
            "Tesla moved to Paris. [1] Tesla moved to Prague. [1]",
        )


@pytest.fixture(params=["embedder", "lexical"])
def generator(request):
    return ExtractiveGenerator(WordEmbedder() if request.param == "embedder" else None)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Where was Nikola Tesla born?", "Nikola Tesla was born in the village of Smiljan in 1856. [1]"),
        ("When did Tesla die?", "Tesla died in New York on 7 January 1943. [1]"),
        ("How many square kilometres does the Amazon basin encompass?", "encompasses 7,000,000 square kilometres. [2]"),
        (
            "Which country holds the majority of the rainforest?",
            "is contained within Brazil, with 60% of the rainforest. [2]",
        ),
    ],
)
async def test_the_first_piece_is_the_sentence_that_answers_with_its_marker(generator, question, sentence):
    events = await answered(generator, ask(question))
    assert events[0].text.endswith(sentence)
    assert events[-1].finish_reason is FinishReason.STOP


async def test_every_sentence_stands_in_the_source_it_cites(generator):
    text = text_of(await answered(generator, ask("What did Tesla do in New York?")))
    said = re.findall(r"(.+?) \[(\d)\](?: |$)", text)
    assert 1 <= len(said) <= MAX_SENTENCES
    assert all(sentence in SOURCES[int(marker) - 1].text for sentence, marker in said)


async def test_a_question_about_something_else_is_not_answered(generator):
    events = await answered(generator, ask("What is the annual revenue of Procter & Gamble?"))
    assert text_of(events) == NOT_FOUND_TEXT
    assert events[-1].finish_reason is FinishReason.NOT_FOUND


async def test_a_code_of_which_only_a_sibling_is_known_is_not_found(generator):
    codes = [passage(1, "Code K10 means that the tray is empty.", title="Printer codes")]
    assert text_of(await answered(generator, ask("What does code K10 mean?", codes))) == f"{codes[0].text} [1]"
    assert text_of(await answered(generator, ask("What does code K4 mean?", codes))) == NOT_FOUND_TEXT


@pytest.mark.parametrize("sources", [[], [passage(1, "# Only a heading")], [passage(1, "   ")], [passage(1, "?!")]])
async def test_nothing_to_quote_is_not_found(generator, sources):
    events = await answered(generator, ask("Where was Tesla born?", sources))
    assert events[-1].finish_reason is FinishReason.NOT_FOUND


async def test_a_heading_or_a_question_is_no_answer_but_points_to_one(generator):
    faq = "## Where was Tesla born?\nWhere was Tesla born?\nIn Smiljan, a village that was then in the Austrian Empire."
    events = await answered(generator, ask("Where was Tesla born?", [passage(1, faq)]))
    assert events[0].text == "In Smiljan, a village that was then in the Austrian Empire. [1]"


async def test_a_sentence_that_two_chunks_share_is_said_once_and_whole(generator):
    whole = passage(1, TESLA, document_id="d", start_char=0)
    cut = passage(2, TESLA[20:], document_id="d", start_char=20)
    text = text_of(await answered(generator, ask("Where was Nikola Tesla born?", [cut, whole])))
    assert text.startswith("Nikola Tesla was born in the village of Smiljan in 1856. [1]")
    assert text.count("Smiljan") == 1


async def test_the_documents_own_reference_marks_do_not_cite(generator):
    text = "Tesla was born in Smiljan in `1856.[2][14]"
    events = await answered(generator, ask("Where was Tesla born?", [passage(1, text)]))
    assert events[0].text == "Tesla was born in Smiljan in 1856. [1]"


async def test_code_is_said_as_code_and_its_marker_has_its_own_line(generator):
    source = passage(1, "```py\nhandlers[1](event)\nreturn handlers[2]\n```", start_char=9)
    events = await answered(generator, ask("Which event goes to the handlers?", [source]))
    assert text_of(events) == "```\nhandlers[1](event)\nreturn handlers[2]\n```\n[1]"
    stream = CitationStream([source])
    [citation] = [each.citation for each in stream.push(text_of(events)) if isinstance(each, CitationAdded)]
    assert citation.quote == "handlers[1](event)\nreturn handlers[2]"
    assert (stream.text, stream.cited_markers) == (text_of(events), (1,))
    assert assess("Which event?", stream.text, [source], FinishReason.STOP) is Grounding.SUPPORTED


METHODS = "We accept the following payment methods:\n\n- Visa\n* PayPal\n- SEPA\n\nRefunds take ten days."
STEPS = (
    "Read this. To reset the router, follow these steps:\n1. Hold the **red** button for 10 seconds. Do not let go.\n"
    "2. Wait until the lamp\n   blinks:\n   ```\n   ***\n   ```\n3. Release it.\nCall us when it fails.\n\nGoodbye."
)
CODE = (
    "# Set-up\nInstall the agent with:\n\n"
    "```sh\npip install agent\nagent run a[0]\n\nagent run a[1]\n```\n\nThen log in."
)


@pytest.mark.parametrize(
    ("question", "text", "said", "quote"),
    [
        (
            "Which payment methods do you accept?",
            METHODS,
            "We accept the following payment methods:\n- Visa\n- PayPal\n- SEPA [1]",
            METHODS.removesuffix("\n\nRefunds take ten days."),
        ),
        (
            "How do I reset the router?",
            STEPS,
            "To reset the router, follow these steps:\n1. Hold the red button for 10 seconds. Do not let go.\n"
            "2. Wait until the lamp blinks:\n```\n***\n```\n3. Release it. Call us when it fails. [1]",
            STEPS.removeprefix("Read this. ").removesuffix("\n\nGoodbye."),
        ),
        (
            "How do I install the agent?",
            CODE,
            "Install the agent with:\n```sh\npip install agent\nagent run a[0]\n\nagent run a[1]\n```\n[1]",
            CODE.removeprefix("# Set-up\n").removesuffix("\n\nThen log in."),
        ),
        (
            "支持哪些支付方式？",  # noqa: RUF001 - the sign Chinese questions end in
            "我们支持以下支付方式：\n- 支付宝\n- 微信支付",  # noqa: RUF001 - the colon Chinese uses
            "我们支持以下支付方式：\n- 支付宝\n- 微信支付 [1]",  # noqa: RUF001
            "我们支持以下支付方式：\n- 支付宝\n- 微信支付",  # noqa: RUF001
        ),
        (
            "What are the requirements?",
            "Requirements:\n- Python 3.12\n  - or 3.13\n- a disk",
            "Requirements:\n- Python 3.12\n  - or 3.13\n- a disk [1]",
            "Requirements:\n- Python 3.12\n  - or 3.13\n- a disk",
        ),
    ],
)
async def test_what_a_colon_introduces_is_said_and_quoted_with_its_introduction(question, text, said, quote):
    source = passage(1, text, start_char=9)
    events = await answered(ExtractiveGenerator(None), ask(question, [source]))
    assert events[0].text == said
    stream = CitationStream([source])
    [citation] = [each.citation for each in stream.push(said) if isinstance(each, CitationAdded)]
    assert citation.quote == quote == text[citation.start_char - 9 : citation.end_char - 9]
    assert (stream.text, stream.cited_markers) == (said, (1,))
    assert assess(question, said, [source], FinishReason.STOP) is Grounding.SUPPORTED


async def test_an_item_answers_alone_who_asks_for_it(generator):
    source = passage(
        1, "To reset the router:\n1. Hold the reset button for 10 seconds.\n2. Wait until the lamp blinks."
    )
    events = await answered(generator, ask("For how many seconds do I hold the reset button?", [source]))
    assert events[0].text == "Hold the reset button for 10 seconds. [1]"


async def test_of_a_long_list_whole_items_are_said_and_no_more_than_its_bound(generator):
    items = [f"- Card {number} of the bank in the town of Number {number}" for number in range(60)]
    source = passage(1, "\n".join(["We accept the following payment cards:", *items]))
    events = await answered(generator, ask("Which payment cards do you accept?", [source]))
    said = events[0].text.removesuffix(" [1]")
    assert MAX_LISTING_CHARS - len(items[-1]) - 2 < len(said) <= MAX_LISTING_CHARS
    assert said.split("\n")[1:] == items[: said.count("\n")]


async def test_an_introduction_cut_from_its_list_is_no_answer_where_there_is_one(generator):
    cut = passage(1, "We accept the following payment methods:")
    told = passage(2, "Pay with Visa or SEPA.")
    question = "Which payment methods do you accept?"
    assert text_of(await answered(generator, ask(question, [cut, told]))) == f"{told.text} [2]"
    whole = passage(3, f"{cut.text}\n- Visa", document_id="doc-1", start_char=0)
    assert text_of(await answered(generator, ask(question, [cut, whole]))) == f"{whole.text} [3]"


async def test_a_sentence_that_tells_something_before_its_colon_may_answer(generator):
    text = f'{TESLA} In his article "A Machine to End War", published in 1937, Tesla stated:'
    events = await answered(generator, ask("Which article was published in 1937?", [passage(1, text)]))
    assert "A Machine to End War" in text_of(events)


async def test_a_sentence_after_a_list_stands_apart_from_it():
    source = passage(1, "Tesla moved to two towns:\n- Paris\n- Prague\n\nTesla moved to the town of Graz.")
    text = text_of(await answered(ExtractiveGenerator(None), ask("Where was Tesla moved?", [source])))
    assert "Tesla moved to two towns:\n- Paris\n- Prague [1]" in text.split("\n\n")


async def test_the_answer_stays_within_max_tokens_but_says_one_sentence(generator):
    prompt = ask("Where was Tesla moved?", [passage(1, "Tesla moved to Paris. Tesla moved to Prague.")])
    events = await answered(generator, prompt, max_tokens=8)
    assert text_of(events) == "Tesla moved to Paris. [1]"
    assert events[-1].finish_reason is FinishReason.LENGTH


async def test_only_a_handful_of_sentences_is_embedded_and_in_one_call():
    embedder = WordEmbedder()
    long = passage(1, " ".join(f"Tesla was in the city of number {number}." for number in range(200)))
    await answered(ExtractiveGenerator(embedder), ask("Where was Tesla?", [long, *SOURCES]))
    assert [len(call) <= 7 for call in embedder.calls] == [True]


class SameForAll(WordEmbedder):
    """What an English model makes of texts without a word it knows: one vector."""

    async def embed(self, texts, *, budget):
        return await super().embed(["unknown"] * len(texts), budget=budget)


@pytest.mark.parametrize("question", ["量子纠缠是什么", "😀", "🎉?", "Что такое запутанность?"])
async def test_a_question_the_embedder_cannot_read_is_judged_by_its_words(question):
    sources = (passage(1, "蓝色按钮关闭系统。红色按钮启动水泵。"), passage(2, "😀😀😀"))
    events = await answered(ExtractiveGenerator(SameForAll()), ask(question, sources))
    assert text_of(events) == NOT_FOUND_TEXT
    assert events[-1].finish_reason is FinishReason.NOT_FOUND


async def test_a_question_in_another_script_is_answered_where_its_words_are_found():
    sources = (passage(1, "ტუმბო მუშაობს ღამით. ის ჩუმია."),)
    events = await answered(ExtractiveGenerator(SameForAll()), ask("როდის მუშაობს ტუმბო?", sources))
    assert "ტუმბო მუშაობს ღამით. [1]" in text_of(events)


@pytest.mark.parametrize("error", [EmbedderUnavailable("out"), DeadlineExceeded("late")])
async def test_without_an_embedder_the_lexical_answer_stands(error):
    events = await answered(ExtractiveGenerator(BrokenEmbedder(error)), ask("Where was Nikola Tesla born?"))
    assert "Smiljan" in text_of(events)


async def test_a_budget_that_ends_between_sentences_ends_the_answer_there():
    now = [0.0]
    prompt = ask("Where was Tesla moved?", [passage(1, "Tesla moved to Paris. Tesla moved to Prague.")])
    events = ExtractiveGenerator(None).generate(prompt, Sampling(), budget=Budget.of(1.0, clock=lambda: now[0]))
    first = await anext(events)
    assert isinstance(first, TextPiece)
    assert first.text == "Tesla moved to Paris. [1]"
    now[0] = 2.0
    with pytest.raises(DeadlineExceeded):
        await anext(events)


def test_the_fingerprint_names_the_embedder_it_depends_on():
    fingerprints = {ExtractiveGenerator(embedder).model.fingerprint for embedder in (None, WordEmbedder())}
    assert len(fingerprints) == 2
