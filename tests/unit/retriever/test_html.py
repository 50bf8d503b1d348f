"""What is read of a web page, in order and without its frame."""

from __future__ import annotations

import pytest

from chassis import errors
from retriever.ingest.parsing import ParseLimits, Parser
from tests.unit.retriever.reading import parsed, shown


async def test_html_is_read_without_its_boilerplate(parser):
    page = b"""<html><head><title>Handbook</title><script>track()</script></head><body><nav>Menu</nav>
    <h1>Leave</h1><p>You have <b>25</b> days.<ul><li>paid<li>yearly</ul>
    <table><tr><th>Name<th>Days<tr><td>Ann<td>25</table><pre>a\n  b</pre><footer>Imprint</footer></body>"""
    document = await parsed(parser, "a.html", page)
    assert document.title == "Handbook"
    assert shown(document) == [
        ("heading", 1, 0, "Leave"),
        ("paragraph", 0, 0, "You have 25 days."),
        ("list_item", 0, 0, "- paid"),
        ("list_item", 0, 0, "- yearly"),
        ("table_row", 0, 0, "Name | Days"),
        ("table_row", 0, 0, "Name: Ann; Days: 25"),
        ("code", 0, 0, "a\n  b"),
    ]


async def test_a_page_nested_beyond_reason_is_read(parser):
    document = await parsed(parser, "a.html", b"<div>" * 20_000 + b"deep")
    assert document.text == "deep"


async def test_an_item_that_has_a_mark_gets_no_second(parser):
    document = await parsed(parser, "a.html", "<ul><li>• one<li>2) two<li>-3 degrees</ul>".encode())
    assert document.text == "• one\n2) two\n- -3 degrees"


async def test_a_list_within_a_list_within_a_quote_keeps_its_items(parser):
    page = b"<ul><li>one<blockquote>said<ul><li>two</ul></blockquote>three</ul><p>four"
    assert [(kind, text) for kind, _, _, text in shown(await parsed(parser, "a.html", page))] == [
        ("list_item", "- one"),
        ("list_item", "- said"),
        ("list_item", "- two"),
        ("list_item", "- three"),
        ("paragraph", "four"),
    ]


async def test_a_term_stands_in_front_of_what_is_said_of_it(parser):
    page = b"<dl><dt>-a<dt>--all<dd><p>Show all.<p>Hidden too.<dt>-x<dd><ul><li>one</ul><dt>-z</dl>"
    assert [(kind, text) for kind, _, _, text in shown(await parsed(parser, "a.html", page))] == [
        ("paragraph", "-a, --all: Show all."),
        ("paragraph", "Hidden too."),
        ("paragraph", "-x"),
        ("list_item", "- one"),
        ("paragraph", "-z"),
    ]


async def test_a_table_within_a_table_ends_with_it(parser):
    page = b"<h1>A</h1><table><tr><td><table><tr><td>in<td>ner</table></table><p>after"
    assert [(kind, text) for kind, _, _, text in shown(await parsed(parser, "a.html", page))] == [
        ("heading", "A"),
        ("table_row", "in; ner"),
        ("paragraph", "after"),
    ]


async def test_what_a_click_opens_is_read_with_the_heading_that_is_clicked(parser):
    page = b"""<h2> <button>May I leave?</button></h2><div hidden=until-found>At nine.</div><p hidden>No.
    <button>Send</button><h3>Pay<button>Copy</button></h3>"""
    assert [(kind, text) for kind, _, _, text in shown(await parsed(parser, "a.html", page))] == [
        ("heading", "May I leave?"),
        ("paragraph", "At nine."),
        ("heading", "Pay"),
    ]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("10<sup>6</sup> and 10<sup>-3</sup>", "10^6 and 10^-3"),
        ("2<sup>nd</sup>, 3 m<sup>2</sup>", "2nd, 3 m2"),
        ("25<sup><a>1</a></sup> days, 7<sup></sup>8, 9<sup>[1]</sup>", "25^1 days, 78, 9[1]"),
        ("Donau&shy;dampf", "Donaudampf"),
        ("<center>One</center>two", "One\n\ntwo"),
    ],
)
async def test_words_and_numbers_are_what_a_reader_sees(parser, page, text):
    assert (await parsed(parser, "a.html", page.encode())).text == text


async def test_a_page_made_to_be_slow_fails_alone_and_leaves_no_thread_behind():
    page = b"<div " + b" ".join(b"a%d" % number for number in range(400_000)) + b">x"  # minutes of comparing names
    async with Parser(ParseLimits(wall_s=0.5)) as parser:
        with pytest.raises(errors.DocumentUnreadable):
            await parsed(parser, "a.html", page)
        assert parser.child.pid is None
