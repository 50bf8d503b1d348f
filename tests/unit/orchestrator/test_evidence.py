"""Which sentences answer, what a question asks for, and how a line is said."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aloud import said_aloud
from orchestrator.evidence import MAX_SOURCES, SHORTLIST, candidates, read
from orchestrator.grounding import is_answerable
from orchestrator.lines import PassageLines
from orchestrator.questions import Kind, answer_sign, kind_of
from orchestrator.words import content_stems, words
from tests.unit.orchestrator.passages import AMAZON, TESLA, passage


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many moons has Mars?", Kind.NUMBER),
        ("What percentage of the forest is in Brazil?", Kind.NUMBER),
        ("When was it built?", Kind.DATE),
        ("In which year was it built?", Kind.DATE),
        ("Who built it?", Kind.PERSON),
        ("Which company built it?", Kind.PERSON),
        ("Where is it?", Kind.PLACE),
        ("In what city is it?", Kind.PLACE),
        ("Why was it built?", Kind.REASON),
        ("What is it made of?", Kind.OTHER),
        ("Since when is it open?", Kind.DATE),
        ("How and when did it open?", Kind.DATE),
        ("It opened when?", Kind.DATE),
        ("When, after the war, was it built?", Kind.DATE),
        ("When exactly did it open?", Kind.DATE),
        ("hello when does it open", Kind.DATE),
        ("What is it made of and where was it built?", Kind.PLACE),
        ("In 1912 who was in charge?", Kind.PERSON),
        ("In 1912, when the war began, who built it?", Kind.DATE),
        ("Do you know where it is?", Kind.PLACE),
        ("Can you tell me who built it?", Kind.PERSON),
        ("Is it known by whom it was built?", Kind.PERSON),
        ("What is the name of the man who built it?", Kind.PERSON),
        ("Who was in charge when it opened?", Kind.PERSON),
        ("How long is it open when it rains?", Kind.NUMBER),
        ("What should I do when the alarm sounds?", Kind.OTHER),
        ("What should I do, and when the alarm sounds again?", Kind.OTHER),
        ("What benefits do employees who work part time get?", Kind.OTHER),
        ("List the benefits of employees who work part time", Kind.OTHER),
        ("Which rules are there for people who are ill?", Kind.OTHER),
        ("When the alarm sounds, what should I do?", Kind.OTHER),
        ("Where two roads meet, which rules hold?", Kind.OTHER),
        ("Which rules hold where two roads meet?", Kind.OTHER),
        ("Can I take leave when I am ill?", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_a_question_asks_for_a_kind_of_thing(question, kind):
    assert kind_of(question) is kind


@pytest.mark.parametrize(
    "text", ["who " * 4_000, "what, who" * 1_800, "names of a " * 1_500 + "who", "when" + " " * 16_000]
)
def test_hostile_questions_are_sorted_in_no_time(text):
    started = time.process_time()
    kind_of(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("question", "sentence", "sign"),
    [
        ("How many moons has Mars?", "It has 2 moons.", 1.0),
        ("How many moons has Mars?", "It has two moons.", 0.8),
        ("How many moons has Mars?", "It has moons.", 0.0),
        ("When was the war of 1812 lost?", "It was lost in 1815.", 1.0),
        ("When was the war of 1812 lost?", "The war of 1812 was lost.", 0.0),
        ("When was it lost?", "It was lost in May.", 0.5),
        ("Who built it?", "It was built by Ada.", 1.0),
        ("Who built it?", "Workers built it.", 0.7),
        ("Who built it?", "It was built by hand.", 0.0),
        ("Why is it closed?", "It is closed because of rain.", 1.0),
        ("Why is it closed?", "It is closed.", 0.0),
        ("What is it?", "It is a bridge.", 0.5),
    ],
)
def test_a_sentence_shows_whether_it_holds_that_kind(question, sentence, sign):
    assert answer_sign(kind_of(question), words(sentence), content_stems(words(question))) == sign


def test_the_sentence_that_shares_the_question_comes_first_and_beliefs_sum_to_one():
    ranked = read("Where was Nikola Tesla born?", [passage(1, TESLA), passage(2, AMAZON)]).ranked(None)
    assert ranked[0][0].text == "Nikola Tesla was born in the village of Smiljan in 1856."
    assert sum(share for _, share in ranked) == pytest.approx(1.0)
    assert [share for _, share in ranked] == sorted((share for _, share in ranked), reverse=True)


def test_a_cosine_can_overrule_the_words():
    reading = read("Where was Tesla?", [passage(1, "Tesla was in Paris. Tesla was in Prague.")])
    assert [one.text for one, _ in reading.ranked([0.1, 0.9])] == ["Tesla was in Prague.", "Tesla was in Paris."]


def test_a_sentence_after_the_one_that_names_the_subject_gains_by_it():
    text = "Nothing else. Marie Curie studied radioactivity. She won 2 prizes."
    [first, *_] = read("How many prizes for radioactivity?", [passage(1, text)]).ranked(None)
    assert first[0].text == "She won 2 prizes."


def test_the_better_ranked_passage_wins_a_tie():
    sources = [passage(1, "Tesla lived in Paris."), passage(2, "Tesla lived in Prague.")]
    assert read("Where did Tesla live?", sources).ranked(None)[0][0].source.marker == 1


def test_the_passage_nearer_in_meaning_wins_when_words_tie():
    far = passage(1, "Tesla lived in Paris.", dense_score=0.2)
    near = passage(1, "Tesla lived in Prague.", dense_score=0.8)
    assert read("Where did Tesla live?", [far, near]).signals.passage_cosine == 0.8
    features = {one.text: one.features for one in candidates("Where did Tesla live?", [far, near])[0]}
    assert features["Tesla lived in Paris."][5] < features["Tesla lived in Prague."][5] == 0.0


@pytest.mark.parametrize("sources", [[], [passage(1, "")], [passage(1, "...")]])
def test_nothing_to_read_is_an_empty_reading(sources):
    reading = read("Where was Tesla born?", sources)
    assert (reading.shortlist, reading.ranked(None)) == ((), [])
    assert reading.signals.passage_coverage == 0.0


def test_reading_is_bounded_however_much_there_is():
    sources = [passage(marker, "Tesla was in New York. " * 50) for marker in range(1, 101)]
    found, _ = candidates("Where was Tesla?", sources)
    assert {one.source.marker for one in found} == set(range(1, MAX_SOURCES + 1))
    assert len(read("Where was Tesla?", sources).shortlist) <= SHORTLIST


@given(st.text(max_size=60), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_can_be_read_and_every_candidate_is_verbatim(question, texts):
    reading = read(question, [passage(marker, text) for marker, text in enumerate(texts, 1)])
    for one, share in reading.ranked(None):
        assert 0.0 <= share <= 1.0
        assert one.text
        assert one.source.text[one.start : one.end].strip()
    assert 0.0 <= reading.signals.passage_coverage <= 1.0 + 1e-9
    assert 0.0 <= reading.signals.name_coverage <= 1.0


DOCUMENT = """Why a hit is never stale

The value holds the snapshot. Is it current?

## What is gone
| what is gone | what the caller gets |
|---|---|
| cache | a miss, flagged |

Closing words here."""


def test_lines_know_what_they_are():
    lines = {line_text(line): line for line in PassageLines.of(1, passage(1, DOCUMENT)).lines}
    answering = {text for text, line in lines.items() if line.can_answer}
    assert answering == {
        "Why a hit is never stale",
        "The value holds the snapshot.",
        "| cache | a miss, flagged |",
        "Closing words here.",
    }
    assert {text for text in answering if not lines[text].is_prose} == {
        "Why a hit is never stale",
        "| cache | a miss, flagged |",
    }
    assert lines["The value holds the snapshot."].lead == "Why a hit is never stale"
    assert lines["Closing words here."].lead == ""


def line_text(line) -> str:
    return DOCUMENT[line.start : line.end]


def best(question: str, text: str) -> str:
    first, _ = read(question, [passage(1, text)]).ranked(None)[0]
    return first.text


def test_a_heading_with_a_date_answers_when_and_nothing_else():
    text = "## 4.2.0 - 2024-09-02\n\n- Added: MQTT 5 support.\n\n## 4.1.3 - 2024-05-27\n\n- Fixed: homing fails."
    assert best("When was version 4.2.0 released?", text) == "4.2.0 - 2024-09-02"
    assert best("What was added in 4.2.0?", text) == "Added: MQTT 5 support."


def test_a_drawn_heading_a_table_s_names_and_a_comment_answer_nothing():
    table = "Site | Open\nSite: Lyon; Open: 9-17"
    text = f"Service hours\n=============\n\n{table}\n\n<!-- hours\nof service -->\n\nClosed on Sundays."
    assert {text[line.start : line.end] for line in PassageLines.of(1, passage(1, text)).lines if line.can_answer} == {
        "Site: Lyon; Open: 9-17",
        "Closed on Sundays.",
    }


def test_code_and_a_bare_name_stand_behind_prose_that_says_the_same():
    text = "- `--verify`\n\n```sh\nflash --verify image.bin verify\n```\n\nTo verify an image, compare its checksum."
    assert best("How do I verify the image?", text) == "To verify an image, compare its checksum."


def test_a_line_that_only_names_what_was_asked_is_no_answer_but_a_sentence_may_be():
    assert best("What is backlash?", "- Backlash\n- Backlash is the play between two gears.").endswith("gears.")
    assert best("Is unpaid leave possible?", "Unpaid leave is possible.") == "Unpaid leave is possible."


def test_every_row_of_a_table_stands_under_its_head():
    text = "| Service | Extra days |\n|---|---|\n| 5 years | 1 |\n| 10 years | 3 |\n\nDays are paid."
    lines = {text[line.start : line.end]: line for line in PassageLines.of(1, passage(1, text)).lines}
    assert lines["| 10 years | 3 |"].lead == lines["| 5 years | 1 |"].lead == "| Service | Extra days |"
    assert "extra" in lines["| 10 years | 3 |"].before
    assert lines["Days are paid."].lead == ""


@pytest.mark.parametrize(
    "text", ["冷却水的温度不得超过六十五摄氏度。机器在周末停止。", "機械を止める。冷却水の温度は六十五度以下。"]
)
def test_words_of_a_script_without_blanks_are_found_in_its_sentences(text):
    assert "六十五" in best("冷却水的温度不得超过多少?", text)
    assert is_answerable(read("冷却水的温度是多少?", [passage(1, text)]).signals)


@pytest.mark.parametrize("titles", [{"section": "Caching > Stale hits"}, {"title": "Stale hits"}])
def test_a_line_that_repeats_the_title_answers_nothing(titles):
    [head, body] = PassageLines.of(1, passage(1, "Stale hits\n\nThere are none.", **titles)).lines
    assert (head.can_answer, body.can_answer) == (False, True)


@pytest.mark.parametrize(
    ("quoted", "said"),
    [
        ("A line\nthat is   wrapped.", "A line that is wrapped."),
        ("It is **never** __ever__ stale.", "It is never ever stale."),
        ("See [the page](../page.md) and ![a plot](x.png).", "See the page and a plot."),
        ("Known since 1990.[12] And [3, 4] more.", "Known since 1990. And more."),
        ("Set `a[x]` to `b`.", "Set `a[x]` to `b`."),
        ("A lone ` tick.", "A lone tick."),
        ("```make up```", "`make up`"),
        ("The score lies in [0, 100].", "The score lies in [0, 100]."),
        ("Use `argv[1]` or ``a[2]`` [3].", "Use `argv[1]` or `a[2]` ."),
        ("Call `__init__` first, **then `a**b**c`**.", "Call `__init__` first, then `a**b**c`."),
        ("Edit __init__.py and 2**10**3.", "Edit __init__.py and 2**10**3."),
        ("Run `handlers[name](event)` and a lone ` x[0].", "Run `handlers[name](event)` and a lone x[0]."),
        ("这是**重要**的。", "这是重要的。"),
        ("| cache | a miss | flagged |", "cache: a miss; flagged"),
        ("| alone |", "alone"),
        ("## 4.2.0 of #12", "4.2.0 of #12"),
        ("<!-- since 2 -->\nIt is on.", "It is on."),
        ("snake_case__name and 2 ** 3 ** 4", "snake_case__name and 2 ** 3 ** 4"),
    ],
)
def test_what_is_said_has_every_word_and_no_markup(quoted, said):
    assert said_aloud(quoted) == said


@pytest.mark.parametrize(
    "text", ["-" * 590 + "x", "**" * 290 + "x", "| " * 290 + "x", "[" * 590 + "x", "`" * 590 + "x"]
)
def test_hostile_repetition_is_read_in_no_time(text):
    started = time.process_time()
    read("What is x?", [passage(1, f"Head\n{text}\n{text}")])
    said_aloud(text)
    assert time.process_time() - started < 1.0  # milliseconds in fact; minutes when a pattern backtracks


CODE = "```py\nx = a[0] + a[1]\n\nhandlers[name](event)\ny = b[2]\n```\nPlain words after handlers."


def test_the_lines_of_a_fenced_block_are_said_as_the_code_they_are():
    assert best("What is a[0] + a[1]?", CODE) == "`x = a[0] + a[1]`"
    assert best("Which event handlers name?", CODE) == "```\nhandlers[name](event)\ny = b[2]\n```"
    assert best("Which words are plain?", CODE) == "Plain words after handlers."


def test_a_passage_cut_within_a_block_knows_what_is_code():
    cut = "y = b[0]\n```\n\nThe x is plain.\n\n```py\nx = b[1]\n```\n\nThe y is plain."
    assert best("Is x plain?", cut) == "The x is plain."
    assert best("Which b has 0?", cut) == "`y = b[0]`"
    assert best("Is x plain?", "y = b[0]\n```\n\nThe x is plain.") == "The x is plain."
    assert best("Is x plain?", "About\n~~~~~\n\nThe x is plain.") == "The x is plain."
    assert best("Is x plain?", "````md\ny\n````\nThe x is plain.") == "The x is plain."


@pytest.mark.parametrize("end", ["- x\n" * 300, "\n" * 3000, "```\n" * 300, "- x\n```\n" * 200, "1. x\n" * 300])
def test_a_colon_before_hostile_repetition_is_read_in_no_time(end):
    started = time.process_time()
    for one in read("What is x?", [passage(1, f"This is x:\n{end}y")]).shortlist:
        assert one.text
    assert time.process_time() - started < 1.0
