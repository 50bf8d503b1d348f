"""A corpus of any size for the speed measurements: real sentences, reshuffled with a fixed seed."""

from __future__ import annotations

import csv
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

from askmesh.documents import DocumentFile

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_000
SENTENCES_A_PARAGRAPH = 4
PARAGRAPHS_A_DOCUMENT = 24
MIN_SENTENCE_CHARS = 40  # shorter ones are headings, list marks and table cells


def sentences() -> list[str]:
    """Sentences of the evaluation data where it is there, else of askmesh's own documents."""
    files = sorted((_data() / "chunking_evaluation" / "corpora").glob("*.md"))
    return _sentences_of(files or sorted((ROOT / "docs").glob("*.md")))


def _sentences_of(files: list[Path]) -> list[str]:
    text = " ".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
    parts = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    return [part for part in parts if MIN_SENTENCE_CHARS <= len(part) <= 400]


def documents() -> Iterator[DocumentFile]:
    """An endless, repeatable stream of Markdown documents."""
    pool = sentences()
    chance = random.Random(SEED)
    number = 0
    while True:
        number += 1
        paragraphs = [" ".join(chance.choices(pool, k=SENTENCES_A_PARAGRAPH)) for _ in range(PARAGRAPHS_A_DOCUMENT)]
        text = f"# Report {number}\n\n" + "\n\n".join(paragraphs)
        yield DocumentFile(f"report-{number:05d}.md", text, source="bench")


def questions(count: int) -> list[str]:
    """Distinct questions the corpus answers: the evaluation data's where it is there, else made of the sentences."""
    file = _data() / "chunking_evaluation" / "questions_df.csv"
    if file.exists():
        with file.open(newline="", encoding="utf-8") as rows:
            found = [row["question"] for row in csv.DictReader(rows)]
    else:
        found = _questions_of(sentences())
    distinct = [*dict.fromkeys(found)]
    return [distinct[index % len(distinct)] for index in range(count)]


def own_questions() -> list[str]:
    """Distinct questions that askmesh's own documents, the demo's, answer."""
    return [*dict.fromkeys(_questions_of(_sentences_of(sorted((ROOT / "docs").glob("*.md")))))]


def _questions_of(found: list[str]) -> list[str]:
    words = (sentence.split() for sentence in found)
    return [f"What is said about {' '.join(part[2:8]).strip('.,;')}?" for part in words if len(part) > 8]


def _data() -> Path:
    return Path(os.environ.get("ASKMESH_EVAL_DATA", ROOT.parent / "shared" / "data"))
