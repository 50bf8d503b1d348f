"""A text's structure as the catalogues keep it beside the text: what cutting it again needs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from retriever.documents import TextBlock


def to_outline(blocks: Sequence[TextBlock] | None) -> str | None:
    """As JSON; None where the structure is not known."""
    if blocks is None:
        return None
    rows = [[each.kind, each.start_char, each.end_char, each.level, each.page] for each in blocks]
    return json.dumps(rows, separators=(",", ":"))


def from_outline(text: str | None) -> tuple[TextBlock, ...] | None:
    """What `to_outline` was made from."""
    return None if text is None else tuple(TextBlock(*row) for row in json.loads(text))
