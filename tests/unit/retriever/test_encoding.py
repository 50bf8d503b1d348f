"""Old encodings without a label: a text is read as it was written, or refused; never as something like it."""

# ruff: noqa: RUF001 - typographic quotes and letters that look like others are what is read here

from __future__ import annotations

import re

import pytest

from chassis.errors import DocumentEncodingInvalid
from retriever.ingest.parsing.encoding import decode
from tests.unit.retriever.prose import CHARSETS, PROSE, WESTERN

CASES = [(language, charset) for language, charsets in CHARSETS.items() for charset in charsets]
_SENTENCE = re.compile(r"[^.?。]+[.?。] ?")


def read(data: bytes) -> str:
    """The text; "" for one that was refused."""
    try:
        return decode(data)
    except DocumentEncodingInvalid:
        return ""


@pytest.mark.parametrize("language", WESTERN)
@pytest.mark.parametrize("charset", ["cp1252", "latin-1"])
def test_a_western_paragraph_is_read_as_it_was_written(language, charset):
    assert read(PROSE[language].encode(charset)) == PROSE[language]


@pytest.mark.parametrize("language", ["pl", "cs", "hu", "ru", "el", "tr"])
def test_a_paragraph_of_other_languages_is_read_in_what_windows_wrote_it_in(language):
    assert read(PROSE[language].encode(CHARSETS[language][0])) == PROSE[language]


@pytest.mark.parametrize(("language", "charset"), CASES)
def test_no_text_is_read_as_another(language, charset):
    sentences = _SENTENCE.findall(PROSE[language])
    assert len(sentences) > 1
    for text in (PROSE[language], *sentences):
        assert read(text.encode(charset)) in {"", text}


@pytest.mark.parametrize("charset", ["cp850", "mac_roman"])
@pytest.mark.parametrize("language", WESTERN)
def test_a_paragraph_of_dos_or_an_old_macintosh_is_refused(language, charset):
    assert read(PROSE[language].encode(charset)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "café",
        "Name;Straße\nMüller;Gärtnerweg 5\n",
        "Namn;Ort\nÅke;Malmö\nHåkan;Gävle\n",
        "Nombre;Ciudad\nJosé Pérez;Málaga\nMaría Núñez;León\n",
        "The company’s policy — as of “May” — is to pay £5 for each trip.",
        "The meeting in São Paulo was led by Mr. Müller, and it was held in the café near the Ångström hall.",
        "The value of the wall is 0.2 W/m²K at 20 °C, and it is the same for all of them.",
        f"{PROSE['de']}\n\n{PROSE['fr']}",
    ],
)
def test_lists_loans_and_texts_in_two_languages_are_read(text):
    assert read(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    "data",
    [
        "Ion Brăila\nAna Măgură".encode("cp1250"),
        "Erdős Pál\nGyőr".encode("cp1250"),
        "Ayşe Yıldız\nDoğan".encode("cp1254"),
        "The house in Plzeň was built by Dvořák and it is open to the public.".encode("cp1250"),
        "The house of Привет was built, and it is open to the public.".encode("cp1251"),
        "Die Größe des Cafés ist für die Straße zu groß".encode() + b" f\xfcr",
        "You don’t pay for it, and that is the rule of the house.".encode() + b" \xfc",
        bytes(range(128, 256)) * 20,
    ],
)
def test_what_cannot_be_told_is_refused(data):
    assert read(data) == ""
