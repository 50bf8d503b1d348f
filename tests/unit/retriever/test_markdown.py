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
