"""What a question names by number or code, and whether a text names it too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.identifiers import identifiers, missing, names_another


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What does code K4 mean?", ("k4",)),
        ("Is CVE-2024-1234 fixed in v2.3.1, or in 2.3.1?", ("cve20241234", "2.3.1")),
        ("In 1912, 1,200 people left.", ("1912", "1200")),
        ("Who was Tesla?", ()),
        ("", ()),
    ],
)
def test_identifiers_are_words_with_a_digit(text, found):
    assert identifiers(text) == found


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What does code K4 mean?", "Code K-4 is a paper jam."),
        ("What does k-4 mean?", "K4: paper jam"),
        ("What does GPT 4 do?", "GPT-4 reads pictures."),
        ("What is new in 2.3?", "Version 2.3.1 mends two faults."),
        ("What is new in v2.3?", "Release 2.3, of May."),
        ("What is new in 2.3?", "Release v2.3: nothing."),
        ("Who left in the 1990s?", "He left in 1990."),
        ("Who left in 1990?", "He left in the early 1990s."),
        ("What happened in 1815?", "The wars of 1803-1815 ended."),
        ("How far is 5km?", "It is 5 km away."),
        ("How heavy are 1,200 kg?", "It takes 1200 kilograms."),
        ("What are the 3 laws?", "There are three laws."),
        ("What was the 4th law?", "Law 4 is about robots."),
        ("Which error is E_1042?", "E-1042, a full disk"),
        ("Who was Tesla?", "nothing of the kind"),
        ("Give me 5 reasons to leave", "It rains."),
        ("What are the top 10 causes?", "There is rain, and wind."),
        ("What is type-2 diabetes?", "Type 2 diabetes is common."),
        ("What does HTTP/2 add?", "HTTP 2 adds streams."),
        ("Who audits ISO27001?", "ISO 27001:2022 is audited by others."),
        ("Who audits ISO27001?", "ISO/IEC 27001 is audited by others."),
        ("Who audits ISO 27001?", "ISO27001 is audited by others."),
        ("What costs the iPhone15?", "The iPhone 15 costs much."),
        ("What costs the iPhone 15?", "The iPhone15 costs much."),
        ("How fast is an RTX 4090?", "The RTX4090 is fast."),
        ("How fast is an RTX4090?", "The RTX 4090 is fast."),
        ("What is new in Python3.12?", "Python v3.12.1 mends two faults."),
        ("What is new in Python 3.12?", "Python3.12.1 mends two faults."),
        ("Is CVE-2024-1234 fixed?", "CVE 2024-1234 is."),
        ("2 examples of never cached answers", "Partial ones, degraded ones."),
    ],
)
def test_the_same_thing_written_otherwise_is_not_missing(question, text):
    assert missing(question, ["Something else.", text]) == ()


@pytest.mark.parametrize(
    ("question", "text", "absent"),
    [
        ("What does code K4 mean?", "Code K10 is an empty tray, K40 a jam.", ("k4",)),
        ("What is new in 2.3.1?", "Version 2.3 and 2.3.10 and 12.3.1", ("2.3.1",)),
        ("What does code K4 mean?", "Code K 10 is an empty tray, and 4 of them are jams.", ("k4",)),
        ("What does code K4 mean?", "Code K 40 is an empty tray, E 4 a jam.", ("k4",)),
        ("What is type-2 diabetes?", "Type 1 diabetes has 2 stages.", ("type2",)),
        ("What was earned in 2023?", "In 2024 it was much, and 20230 is a number.", ("2023",)),
        ("What does code 4 mean?", "Code 10 is an empty tray.", ("4",)),
        ("What does the table on page 7 say?", "On page 8 it says nothing.", ("7",)),
        ("Do K4 and K10 differ?", "K10 is an empty tray.", ("k4",)),
        ("What are the 13 colonies?", "There were thirteen colonies.", ("13",)),  # words go to twelve
    ],
)
def test_another_number_is_not_the_one_asked_for(question, text, absent):
    assert missing(question, [text]) == absent


@pytest.mark.parametrize(
    ("question", "text", "is_another"),
    [
        ("What does code K4 mean?", "K10 is an empty tray.", True),
        ("What does code K4 mean?", "K4 is a jam, K10 an empty tray.", False),
        ("What does code K4 mean?", "Trays are empty at times.", False),
        ("What does code K4 mean?", "See E10.", False),
        ("Do K4 and K10 differ?", "K10 is an empty tray.", False),  # it was asked about
        ("Is CVE-2024-1234 fixed?", "CVE-2023-9 is.", True),
        ("What is type-2 diabetes?", "Type 2 diabetes is common, unlike type-1 diabetes.", False),
        ("What is type-2 diabetes?", "Type-1 diabetes has 2 stages.", True),
        ("What does HTTP/2 add?", "HTTP 2 adds streams; HTTP/1.1 does not.", False),
        ("What was earned in 2023?", "In 2024 it was much.", False),
    ],
)
def test_a_text_about_another_of_the_series_is_told(question, text, is_another):
    assert names_another(question, [text]) is is_another


@given(st.text(max_size=80))
def test_a_text_names_all_that_it_names(text):
    assert missing(text, [text]) == ()
    assert not names_another(text, [text])
