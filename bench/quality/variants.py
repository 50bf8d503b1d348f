"""The same questions asked differently: what fusion must survive on text nobody tuned it for."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from bench.quality.data import PassageCorpus
from retriever.search.embedded.words import STOP_WORDS

SEED = 20_260_801  # the variants must be the same texts in every run, or the vector cache is of no use
_MIN_TYPO_CHARS = 5  # shorter words are rarely mistyped and become others
Change = Callable[[str, random.Random], str]


def typos(text: str, rng: random.Random) -> str:
    """One word in five has two neighbouring letters swapped: hurts words more than vectors."""
    words = text.split()
    for place in rng.sample(range(len(words)), max(1, len(words) // 5)):
        word = words[place]
        if len(word) >= _MIN_TYPO_CHARS:
            at = rng.randrange(1, len(word) - 2)
            words[place] = f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"
    return " ".join(words)


def keywords(text: str, rng: random.Random) -> str:  # noqa: ARG001 - all variants are called alike
    """Only the telling words, as typed into a search box: hurts vectors."""
    words = re.findall(r"\w+", text)
    return " ".join(word for word in words if word.lower() not in STOP_WORDS) or text


def gaps(text: str, rng: random.Random) -> str:
    """Three words in ten are missing, whichever: a vague question."""
    return " ".join(word for word in text.split() if rng.random() > 0.3) or text


def chatter(text: str, rng: random.Random) -> str:  # noqa: ARG001
    """Polite words in front, as people write to assistants."""
    return f"Hi, I was wondering whether somebody could possibly tell me, please: {text}"


CHANGES: dict[str, Change] = {"typos": typos, "keywords": keywords, "gaps": gaps, "chatter": chatter}


def variants(corpus: PassageCorpus) -> list[PassageCorpus]:
    """The corpus with each change of its questions."""
    changed = []
    for name, change in CHANGES.items():
        rng = random.Random(SEED)
        questions = tuple(replace(question, text=change(question.text, rng)) for question in corpus.questions)
        changed.append(replace(corpus, name=f"{corpus.name}-{name}", questions=questions))
    return changed
