"""The evaluation data: where it is, and what is in it. It is read in place and never copied into the project."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATA_VARIABLE = "ASKMESH_EVAL_DATA"
_PROJECT = Path(__file__).parents[2]
_BESIDE = _PROJECT.parent / "shared" / "data"
CORPORA = ("chatlogs", "finance", "pubmed", "state_of_the_union", "wikitexts")


def data_folder() -> Path | None:
    """$ASKMESH_EVAL_DATA, else shared/data beside the checkout; None when there is no data."""
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named).expanduser() if named else _BESIDE
    return folder if (folder / "xquad.en.json").is_file() else None


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the documents that answer it; `half` is "even" or "odd", by its article."""

    text: str
    answers: frozenset[str]
    half: str


@dataclass(frozen=True, slots=True)
class PassageCorpus:
    """Short documents by id, and questions each of which some of them answer."""

    name: str
    documents: dict[str, str]
    questions: tuple[Question, ...]


def xquad(folder: Path) -> PassageCorpus:
    """XQuAD-en: 240 paragraphs, 1,190 questions, each answered by its own paragraph. No titles are used."""
    articles = json.loads((folder / "xquad.en.json").read_text())["data"]
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for number, article in enumerate(articles):
        for place, paragraph in enumerate(article["paragraphs"]):
            document_id = f"{number:02}-{place}.txt"
            documents[document_id] = paragraph["context"]
            half = "odd" if number % 2 else "even"
            questions += [Question(qa["question"], frozenset({document_id}), half) for qa in paragraph["qas"]]
    return PassageCorpus("xquad", documents, tuple(questions))


@dataclass(frozen=True, slots=True)
class ExcerptQuestion:
    """A question and the stretches of the corpus that answer it, as character offsets."""

    text: str
    excerpts: tuple[tuple[int, int], ...]
    half: str


@dataclass(frozen=True, slots=True)
class ExcerptCorpus:
    """One long text and questions about it."""

    name: str
    text: str
    questions: tuple[ExcerptQuestion, ...]


def excerpt_corpora(folder: Path) -> Iterator[ExcerptCorpus]:
    """The five corpora of chunking_evaluation; of each, questions are halved by their position."""
    place = folder / "chunking_evaluation"
    with (place / "questions_df.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in CORPORA:
        # newline="": offsets count every character of the file.
        with (place / "corpora" / f"{name}.md").open(newline="", encoding="utf-8") as file:
            text = file.read()
        own = [row for row in rows if row["corpus_id"] == name]
        questions = (_question(row, "odd" if number % 2 else "even") for number, row in enumerate(own))
        yield ExcerptCorpus(name, text, tuple(questions))


def _question(row: dict[str, str], half: str) -> ExcerptQuestion:
    references = json.loads(row["references"])
    return ExcerptQuestion(row["question"], tuple((ref["start_index"], ref["end_index"]) for ref in references), half)
