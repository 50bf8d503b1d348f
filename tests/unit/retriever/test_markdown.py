"""What is a heading in Markdown and what is code, comment or front matter, as CommonMark has it."""

from __future__ import annotations

import pytest

from retriever.ingest.parsing import ParseLimits
from retriever.ingest.parsing.markdown import parse_markdown
from retriever.ingest.parsing.text import heading_name
from tests.unit.retriever.reading import shown


def headings(text: str) -> list[str]:
    """The headings' names; whatever else there is, no text is lost."""
    document = parse_markdown(text, ParseLimits())
    assert document.text == text
    return [heading_name(text) for kind, _, _, text in shown(document) if kind == "heading"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("```npm install foo```\n\n# A", ["A"]),
        ("```` a`b ````\n# A", ["A"]),
        ("~~~ a`b\n# no\n```\n~~~\n# A", ["A"]),
        ("````md\n```\n# no\n```\n`````\n# A", ["A"]),
        ("```\n# no\n``` sh\n    ```\n~~~\n# no\n   ```  \n# A", ["A"]),
        ("```\n# no", []),
    ],
)
def test_code_begins_and_ends_at_its_fences(text, names):
    assert headings(text) == names


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("# C#", "C#"),
        ("## F# and C# ##", "F# and C#"),
        ("#\tOne  two\t#  ", "One two"),
        ("# #5 bolt", "#5 bolt"),
        ("#5 bolt", "#5 bolt"),
        ("# a # #", "a #"),
        ("# \\#", "\\#"),
        ("## ##", ""),
        ("#", ""),
        ("C#\n==", "C#"),
        ("####\nTop\n####", "Top"),
    ],
)
def test_a_heading_s_name_has_its_own_hashes(line, name):
    assert heading_name(line) == name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("- ```sh\n  # no\n  ```\n\n# A", ["A"]),
        ("10. ```sh\n    # no\n    ```\n\n# A", ["A"]),
        ("- ```sh\n# no\n```\n\n# A", ["A"]),
        ("- ```sh\n# no\n``` x\n# no\n```\n\n# A", ["A"]),
        ("- ```\n\n# A", ["A"]),
        ("- ```a``` and b\n\n# A", ["A"]),
    ],
)
def test_code_may_begin_with_its_list_item(text, names):
    assert headings(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("<!--\n# Licensed\n\n# to\n-->\n# A", ["A"]),
        ("<!-- one --> two\n# A", ["A"]),
        ("<!---->\n# A", ["A"]),
        ("<!-- never\n# A", ["A"]),
        ("text\n<pre class=x>\n# no\n\n```\n</pre>\n# A", ["A"]),
        ("<pre\n# A", ["A"]),
        ("<prefix>\n# A\n</prefix>", ["A"]),
        ("<details>\n\n# A\n\n</details>", ["A"]),
    ],
)
def test_comments_and_preformatted_text_hold_no_headings(text, names):
    assert headings(text) == names


def test_a_comment_is_text_like_any_other():
    document = parse_markdown("one\n<!-- # two\n\nthree -->\nfour", ParseLimits())
    assert [(kind, text) for kind, _, _, text in shown(document)] == [
        ("paragraph", "one\n<!-- # two"),
        ("paragraph", "three -->"),
        ("paragraph", "four"),
    ]


@pytest.mark.parametrize(
    ("text", "names", "title"),
    [
        ("---\n\n# A\n\ntitle: no\n\n---\n# B", ["A", "B"], "A"),
        ("---\ntitle: 'T: t'\n\n# no\n---\n# A", ["A"], "T: t"),
        ("---\ntitle: T\n...\n# A", ["A"], "T"),
    ],
)
def test_front_matter_follows_its_first_line_at_once(text, names, title):
    assert headings(text) == names
    assert parse_markdown(text, ParseLimits()).title == title
