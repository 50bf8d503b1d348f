"""The stand-in's "model": an answer made of the prompt's own passages, and its tokens. Pure.

It understands askmesh's prompt (orchestrator/prompt.py): fenced sources, the question after "Question:", the sentence
to say when the sources do not answer. The answer is the passages' sentences that share most words with the question,
each with its marker, so that what comes out of the whole system is cited and checkable.
"""

from __future__ import annotations

import re

MAX_SENTENCES = 2
MIN_SHARED_WORDS = 1
_SOURCE = re.compile(r'<source id="(\d+)">\n(.*?)\n</source>', re.DOTALL)
_REFUSAL = re.compile(r"reply with exactly: (.+)")
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+|>]|#{1,6}|\d+\.)\s)")  # a line that ends is no sentence's end; these are
_MARKUP = re.compile(r"^\s*(?:[-*+>]|\d+\.)\s+")
_SENTENCE = re.compile(r"[^.!?]+(?:[.!?](?!\s|$)[^.!?]*)*[.!?]?")  # "caching.md" does not end one
_TOKEN = re.compile(r"\s?\w{1,6}|\s?[^\w\s]|\s")
_SHORT_WORD = 3  # of, the, was: shared by everything


def question_of(prompt: str) -> str:
    return prompt.rpartition("Question: ")[2].partition("<end_of_turn>")[0]


def answer_to(prompt: str, question: str) -> str:
    """The best sentences of the prompt's sources, in their order, each cited."""
    wanted = _words(question)
    scored = [
        (len(wanted & _words(sentence)), -at, sentence, marker)
        for at, (marker, sentence) in enumerate(_sentences(prompt))
    ]
    best = sorted((each for each in scored if each[0] >= MIN_SHARED_WORDS), reverse=True)[:MAX_SENTENCES]
    if not best:
        refusal = _REFUSAL.search(prompt)
        return refusal.group(1) if refusal else "The sources do not say."
    said = sorted(best, key=lambda each: -each[1])
    return " ".join(f"{sentence} [{marker}]" for _, _, sentence, marker in said)


def tokens_of(text: str) -> list[str]:
    """Pieces of a few letters; joined they are the text."""
    return _TOKEN.findall(text)


def _sentences(prompt: str) -> list[tuple[str, str]]:
    return [
        (marker, sentence.strip())
        for marker, body in _SOURCE.findall(prompt)
        for block in _BLOCK.split(_without_heading(body))
        if not block.lstrip().startswith(("#", "|"))
        for sentence in _SENTENCE.findall(" ".join(_MARKUP.sub("", block).split()))
        if len(sentence.split()) > 2
    ]


def _without_heading(body: str) -> str:
    """A passage's first line is its title and section, where it has any."""
    first, _, rest = body.partition("\n")
    return body if not rest or first.rstrip().endswith((".", "!", "?")) else rest


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > _SHORT_WORD}
