"""Passages as tests write them: text, and where it stands in its document."""

from __future__ import annotations

from orchestrator.types import Source

TESLA = (
    "Nikola Tesla was born in the village of Smiljan in 1856. He emigrated to New York in 1884. "
    "There he worked for Thomas Edison for six months. Tesla died in New York on 7 January 1943."
)
AMAZON = (
    "The Amazon rainforest covers most of the Amazon basin of South America. The basin encompasses 7,000,000 square "
    "kilometres. The majority of the forest is contained within Brazil, with 60% of the rainforest."
)


def passage(marker: int, text: str, *, start_char: int = 0, title: str = "", section: str = "", **fields) -> Source:
    defaults = {"document_id": f"doc-{marker}", "chunk_id": f"chunk-{marker}", "uri": "", "source": "", "page": 0}
    return Source(
        marker=marker,
        text=text,
        title=title,
        section=section,
        start_char=start_char,
        end_char=start_char + len(text),
        **{**defaults, **fields},
    )
