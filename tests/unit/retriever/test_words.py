"""A question becomes a full-text query of quoted words."""

from __future__ import annotations

import pytest

from retriever.search.embedded.words import MAX_TERMS, match_expression


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("How many days of leave?", '"days" OR "leave"'),
        ("Leave, LEAVE and leave", '"leave"'),
        ("who is the", '"who" OR "is" OR "the"'),
        ('a "quoted" OR NEAR(x)', '"quoted" OR "near" OR "x"'),
        ("snake_case x-ray", '"snake" OR "case" OR "x" OR "ray"'),
        ("Version 4.2.0 of 2", '"4.2.0" OR "version"'),
        ("Version v4.2.0", '"4.2.0" OR "version"'),
        ("CVE-2024-31982", '"cve-2024-31982" OR "cve" OR "2024" OR "31982"'),
        ("1,190 and K-4", '"1,190" OR "k-4" OR "190"'),
        ("冷却水是K400", '"冷却" OR "却水" OR "水是" OR "k400"'),
        ("Über 100 Straße", '"über" OR "100" OR "straße"'),
        ("?!…", ""),
        ("", ""),
    ],
)
def test_stop_words_go_unless_there_is_nothing_else(question, expression):
    assert match_expression(question) == expression


def test_a_page_pasted_as_a_question_is_cut():
    question = " ".join(f"w{n}" for n in range(1_000))
    assert match_expression(question).count(" OR ") == MAX_TERMS - 1
