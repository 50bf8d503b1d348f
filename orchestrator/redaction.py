"""Takes personal data out of a question before anything else sees it.

Rule 1: what was redacted is gone for every later stage: embedding, retrieval, prompt, cache, spans.
Rule 2: a redacted question is neither looked up nor stored: two different numbers leave the same words behind.
Rule 3: every pattern is bounded, so that no question of the largest size makes matching quadratic.
"""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[redacted]"
REDACTION_VERSION: Final = "pii-1"  # part of the cache key: raise it with every change of PATTERNS

PATTERNS: Final = (
    re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),  # United States social security number
    re.compile(r"\b\d(?:[ -]?\d){15}\b"),  # payment card: 16 digits, in groups or not
    re.compile(
        r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    ),  # e-mail; RFC 5321 bounds the local part at 64
)


def redact(text: str) -> tuple[str, bool]:
    """The text with every match replaced by REDACTED, and whether there was one."""
    found = 0
    for pattern in PATTERNS:
        text, count = pattern.subn(REDACTED, text)
        found += count
    return text, found > 0
