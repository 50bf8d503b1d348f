"""How an answer is played: its pace and its faults, written in the question or in STANDIN_SCRIPT. Pure.

    standin:pace=0.5     seconds per token (2 tokens a second); STANDIN_SCRIPT="standin:pace=0.03" for all requests
    standin:refuse=CODE  an error before the first token: unavailable, overloaded, internal, cancelled
    standin:break=N      an error after N tokens
    standin:stall=N      nothing more after N tokens, until cancelled
    standin:split        bytes cut anywhere, characters in the middle
    standin:undecoded    a cut character is U+FFFD until it is whole, as tokenizers give it (cumulative contract only)
    standin:emptyfinal   the FINAL flag comes alone, after the last text
    standin:leak         goes on after the stop sequence, which is in the text
    standin:notext       responses without text_output
    standin:gaveup       ends with the finish reason of an engine that gave up
    standin:noreason     ends without a finish reason, where its contract has one
    standin:repeat       each response says all so far, where its contract says what is new

The question's own words win over STANDIN_SCRIPT's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_PACE_S = 0.005
_DIRECTIVE = re.compile(r"standin:([a-z]+)(?:=([\w.]+))?")


@dataclass(frozen=True)
class Script:
    pace_s: float = DEFAULT_PACE_S
    refuse: str = ""
    break_at: int | None = None
    stall_at: int | None = None
    is_split: bool = False
    is_undecoded: bool = False
    has_empty_final: bool = False
    leaks: bool = False
    has_no_text: bool = False
    gives_up: bool = False
    hides_reason: bool = False
    repeats: bool = False


def script_of(*texts: str) -> Script:
    """The script written in the texts; of two that name the same directive the later wins."""
    said = {name: value for text in texts for name, value in _DIRECTIVE.findall(text)}
    return Script(
        pace_s=float(said.get("pace", DEFAULT_PACE_S)),
        refuse=said.get("refuse", ""),
        break_at=_count(said, "break"),
        stall_at=_count(said, "stall"),
        is_split="split" in said,
        is_undecoded="undecoded" in said,
        has_empty_final="emptyfinal" in said,
        leaks="leak" in said,
        has_no_text="notext" in said,
        gives_up="gaveup" in said,
        hides_reason="noreason" in said,
        repeats="repeat" in said,
    )


def without_directives(question: str) -> str:
    return _DIRECTIVE.sub("", question)


def _count(said: dict[str, str], name: str) -> int | None:
    return int(said[name]) if name in said else None
