"""Nine formats in, text with exact offsets out; a bad file fails alone, with a reason that fits."""

from __future__ import annotations

import io
import os
import signal
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import errors
from chassis.budget import Budget
from retriever.documents import DocumentSource
from retriever.ingest.parsing import ParseLimits, Parser
from retriever.ingest.parsing.formats import decide
from retriever.ingest.parsing.texts import parse_text
from retriever.ingest.parsing.worker import ParsingChild
from tests.unit.retriever.files import docx_file, pdf_file, pptx_file, wrapped_docx_file, xlsx_file, zip_file
from tests.unit.retriever.reading import parsed, shown

PAGES = (["The first page speaks of leave.", "It ends here."], ["The second page speaks of pay."])
BOMB = zip_file({"word/document.xml": b" " * (300 << 20)})
ENTITIES = zip_file({"word/document.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'})


async def test_a_pdf_keeps_its_pages(parser):
    document = await parsed(parser, "a.pdf", pdf_file(*PAGES))
    assert shown(document) == [
        ("paragraph", 0, 1, "The first page speaks of leave. It ends here."),
        ("paragraph", 0, 2, "The second page speaks of pay."),
    ]


async def test_words_broken_at_a_line_s_end_are_whole_again(parser):
    lines = ["An encoded decla-", "ration of a well-", "known rule, and a", "second rule that is well made and known."]
    document = await parsed(parser, "a.pdf", pdf_file(lines))
    assert (
        document.text == "An encoded declaration of a well-known rule, and a second rule that is well made and known."
    )


async def test_what_runs_at_the_edges_of_a_pdf_s_pages_is_said_once(parser):
    words = ("oil", "air", "ice", "ash")
    pages = [
        ["Field manual", f"Part {number} begins", f"and goes on with {word}", f"Page {number} of 4"]
        for number, word in enumerate(words, start=1)
    ]
    document = await parsed(parser, "a.pdf", pdf_file(*pages))
    assert [text for _, _, _, text in shown(document)] == [
        "Field manual Part 1 begins and goes on with oil Page 1 of 4",
        "Part 2 begins and goes on with air",
        "Part 3 begins and goes on with ice",
        "Part 4 begins and goes on with ash",
    ]


async def test_a_docx_keeps_headings_lists_and_tables(parser):
    document = await parsed(parser, "a.docx", docx_file())
    assert document.title == "Leave"
    assert shown(document) == [
        ("heading", 1, 0, "Leave"),
        ("paragraph", 0, 0, "Everybody has 25 days of leave."),
        ("heading", 2, 0, "Sick leave"),
        ("list_item", 0, 0, "- Call before nine."),
        ("table_row", 0, 0, "Name | Days"),
        ("table_row", 0, 0, "Name: Ann; Days: 25"),
    ]


async def test_a_docx_says_what_its_reader_sees_however_it_is_wrapped(parser):
    document = await parsed(parser, "a.docx", wrapped_docx_file())
    assert [text for _, _, _, text in shown(document)] == [
        "Issued by Kim.",
        "The limit is 55 pounds.",
        "Mind the step.",
        "Since May.",
    ]


async def test_a_pptx_keeps_slides_titles_and_notes(parser):
    assert shown(await parsed(parser, "a.pptx", pptx_file())) == [
        ("heading", 1, 1, "Plan"),
        ("list_item", 0, 1, "- Build it"),
        ("list_item", 0, 1, "- Ship it"),
        ("heading", 1, 2, "Risks"),
        ("list_item", 0, 2, "- None"),
        ("paragraph", 0, 2, "Notes: Smile."),
    ]


async def test_an_xlsx_gives_one_row_per_block_with_its_names(parser):
    assert shown(await parsed(parser, "a.xlsx", xlsx_file())) == [
        ("heading", 1, 1, "Pay"),
        ("table_row", 0, 1, "Name | Pay"),
        ("table_row", 0, 1, "Name: Ann; Pay: 12.5"),
        ("table_row", 0, 1, "Name: Bob; Pay: 3"),
        ("heading", 1, 2, "Rates"),
        ("table_row", 0, 2, "1; 2"),
    ]


async def test_a_title_above_a_table_is_not_taken_for_its_names(parser):
    document = await parsed(parser, "a.csv", b"Budget 2025,,\n,,\nTeam,Q1,Q2\nSales,80,82\n")
    assert document.text == "Budget 2025\nTeam | Q1 | Q2\nTeam: Sales; Q1: 80; Q2: 82"


async def test_markdown_is_kept_verbatim_with_its_structure(parser):
    text = "# One\n\nPara\nmore\n\nSet\n---\n- a\n- b\n\n```py\n# code\n```\n| x | y |\n"
    document = await parsed(parser, "a.md", text.encode())
    assert document.text == text
    assert shown(document) == [
        ("heading", 1, 0, "# One"),
        ("paragraph", 0, 0, "Para\nmore"),
        ("heading", 2, 0, "Set\n---"),
        ("list_item", 0, 0, "- a"),
        ("list_item", 0, 0, "- b"),
        ("code", 0, 0, "```py\n# code\n```"),
        ("table_row", 0, 0, "| x | y |"),
    ]


async def test_csv_rows_carry_the_names_of_their_columns(parser):
    document = await parsed(parser, "a.csv", b'name;days\nAnn;25\nBob;"3; or 4"\n')
    assert document.text == "name | days\nname: Ann; days: 25\nname: Bob; days: 3; or 4"


async def test_json_becomes_paths_and_values_as_written(parser):
    document = await parsed(parser, "a.json", b'{"a": {"b": [1, 2.50, {"c": "x"}]}, "d": null, "e": true}')
    assert document.text == "a.b[0]: 1\na.b[1]: 2.50\na.b[2].c: x\ne: true"


async def test_records_of_json_stay_together(parser):
    lines = b'{"event": "E1", "who": {"name": "Ann"}}\n\n{"event": "E2", "who": {"name": "Bob"}}\n'
    assert (await parsed(parser, "a.jsonl", lines)).text == "event: E1; who.name: Ann\nevent: E2; who.name: Bob"
    listed = b'{"users": [{"name": "Ann", "days": 25}, {"name": "Bob"}], "big": [{"a": "%s", "b": 1}]}' % (b"x" * 700)
    text = (await parsed(parser, "a.json", listed)).text
    assert text.startswith("users[0]: name: Ann; days: 25\nusers[1].name: Bob\nbig[0].a: xxx")
    assert text.endswith("\nbig[0].b: 1")


async def test_lines_drawn_under_titles_make_sections(parser):
    text = (
        "Guide\n=====\n\nOne.\n\nInstall\n-------\n\nTwo\nlines.\n\nOn Linux\n~~~~~~~~\n\nThree.\n\n"
        "Use\n---\n\n====\nTop\n====\n\na | b\n-----\nNot one: too long for what is under it\n----\n"
    )
    document = await parsed(parser, "a.rst", text.encode())
    assert document.text == text
    assert document.title == "Guide"
    assert [(level, text) for kind, level, _, text in shown(document) if kind == "heading"] == [
        (1, "Guide\n====="),
        (2, "Install\n-------"),
        (3, "On Linux\n~~~~~~~~"),
        (2, "Use\n---"),
        (4, "====\nTop\n===="),
        (2, "a | b\n-----"),
    ]


@pytest.mark.parametrize(
    ("name", "data"), [("no-extension", docx_file()), ("x", pdf_file(*PAGES)), ("y", b"<!doctype html><p>hello")]
)
async def test_bytes_tell_the_format_when_nothing_else_does(parser, name, data):
    document = await parsed(parser, name, data, "application/octet-stream")
    assert document.content_type != "text/plain"


@pytest.mark.parametrize(
    "data", ["Grüße".encode("utf-8-sig"), "Grüße".encode("utf-16"), "Grüße".encode("utf-32"), "Grüße".encode()]
)
async def test_byte_order_marks_are_understood(parser, data):
    assert (await parsed(parser, "a.txt", data)).text == "Grüße"


async def test_western_prose_in_its_old_encoding_is_recognised(parser):
    text = "Die Straße ist für Fußgänger gesperrt, weil größere Bauarbeiten nötig wären. Überall hört man Lärm."
    assert (await parsed(parser, "a.txt", text.encode("cp1252"))).text == text


@pytest.mark.parametrize(
    ("label", "charset", "text"),
    [
        ("iso-8859-1", "cp1252", "Das Menü \u201edes Tages\u201c kostet 6 \u20ac."),
        ("ISO-8859-1", "latin-1", "Menü\x81"),
        ("gb2312", "gb18030", "镕 and 你好"),
        ("shift_jis", "cp932", "①番"),
        ("koi8-r", "koi8-r", "Привет"),
    ],
)
async def test_a_label_means_what_browsers_take_it_for(parser, label, charset, text):
    page = f"<meta charset={label}><p>{text}".encode(charset)
    typed = f"text/plain; charset={label}"
    assert (await parsed(parser, "a.html", page)).text == text.rstrip("\x81")
    assert (await parsed(parser, "a.txt", text.encode(charset), typed)).text == text.replace("\x81", " ")


async def test_control_characters_become_blanks_and_line_ends_are_one_kind(parser):
    document = await parsed(parser, "a.txt", b"one\x07two\r\nthree\rfour " + b"x" * 200)
    assert document.text.startswith("one two\nthree\nfour")
    assert (await parsed(parser, "a.txt", b"inspected on 4\0 June")).text == "inspected on 4  June"


BAD_FILES = {
    "nothing": ("a.txt", b"", "", errors.DocumentEmpty),
    "blanks": ("a.md", b" \n\t ", "", errors.DocumentEmpty),
    "a page of scripts": ("a.html", b"<script>x()</script>", "", errors.DocumentEmpty),
    "a pdf without text": ("a.pdf", pdf_file([]), "", errors.DocumentEmpty),
    "a pdf that is none": ("a.pdf", b"hello", "", errors.DocumentUnreadable),
    "a pdf that breaks off": ("a.pdf", b"%PDF-1.4 and no more", "", errors.DocumentUnreadable),
    "a docx that is none": ("a.docx", b"hello", "", errors.DocumentUnreadable),
    "a docx that is cut": ("a.docx", docx_file()[:5000], "", errors.DocumentUnreadable),
    "a workbook called docx": ("a.docx", xlsx_file(), "", errors.DocumentUnreadable),
    "a docx called xlsx": ("a.xlsx", docx_file(), "", errors.DocumentUnreadable),
    "a docx called pptx": ("a.pptx", docx_file(), "", errors.DocumentUnreadable),
    "xml entities": ("a.docx", ENTITIES, "", errors.DocumentUnreadable),
    "a zip bomb": ("a.docx", BOMB, "", errors.DocumentTooLarge),
    "json cut off": ("a.json", b'{"a": ', "", errors.DocumentUnreadable),
    "json too deep": ("a.json", b"[" * 100_000, "", errors.DocumentUnreadable),
    "bytes as text": ("a.txt", bytes(range(128, 256)) * 20, "", errors.DocumentEncodingInvalid),
    "binary as text": ("a.txt", b"\0\1\2\3" * 100, "", errors.DocumentUnreadable),
    "a pdf sent as text": ("a", pdf_file(*PAGES), "text/plain", errors.DocumentUnreadable),
    "a picture": ("a.png", b"\x89PNG\r\n\x1a\n", "", errors.DocumentFormatUnsupported),
    "a declared picture": ("a", b"hello", "image/png", errors.DocumentFormatUnsupported),
    "an old doc": ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, "", errors.DocumentFormatUnsupported),
    "an encrypted docx": (
        "a.docx",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
        "",
        errors.DocumentEncrypted,
    ),
    "an encrypted pdf": (
        "a.pdf",
        pdf_file(
            *PAGES,
            trailer=b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]"
            % (b"11" * 32, b"22" * 32),
        ),
        "",
        errors.DocumentEncrypted,
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
async def test_a_bad_file_fails_with_the_reason_that_fits(parser, case):
    name, data, content_type, error = BAD_FILES[case]
    with pytest.raises(errors.DocumentError) as raised:
        await parsed(parser, name, data, content_type)
    assert type(raised.value) is error


async def test_text_formats_never_start_a_child(parser):
    await parsed(parser, "a.md", b"# Hello")
    assert parser.child.pid is None


async def test_the_child_stays_warm_between_documents(parser):
    await parsed(parser, "a.pdf", pdf_file(*PAGES))
    first = parser.child.pid
    await parsed(parser, "a.docx", docx_file())
    assert parser.child.pid == first


async def test_a_child_is_replaced_after_its_share_of_documents():
    async with Parser(ParseLimits(documents_per_child=1)) as parser:
        await parsed(parser, "a.pdf", pdf_file(*PAGES))
        assert parser.child.pid is None
        assert (await parsed(parser, "a.pdf", pdf_file(*PAGES))).text


async def test_a_document_whose_child_is_killed_is_unreadable_and_the_next_one_is_read(parser):
    await parsed(parser, "a.pdf", pdf_file(*PAGES))
    os.kill(parser.child.pid, signal.SIGSTOP)  # it can not answer before it is killed
    os.kill(parser.child.pid, signal.SIGKILL)
    with pytest.raises(errors.DocumentUnreadable):
        await parsed(parser, "a.pdf", pdf_file(*PAGES))
    assert (await parsed(parser, "a.pdf", pdf_file(*PAGES))).text


async def test_a_document_that_takes_too_long_fails_alone():
    async with Parser(ParseLimits(wall_s=0.01)) as parser:
        with pytest.raises(errors.DocumentUnreadable):
            await parsed(parser, "a.docx", docx_file())
        assert parser.child.pid is None


async def test_a_document_that_needs_more_memory_than_the_child_has_fails_alone():
    rows = b"".join(b"<row><c t='inlineStr'><is><t>%d</t></is></c></row>" % number for number in range(150_000))
    sheet = b"<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>%s</sheetData></worksheet>"
    with zipfile.ZipFile(io.BytesIO(xlsx_file())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = sheet % rows
    async with Parser(ParseLimits(memory_bytes=100 << 20)) as parser:
        with pytest.raises((errors.DocumentTooLarge, errors.DocumentUnreadable)):
            await parsed(parser, "a.xlsx", zip_file(parts))
        assert (await parsed(parser, "a.txt", b"hello")).text == "hello"


async def test_too_much_text_is_refused_in_either_process():
    async with Parser(ParseLimits(max_text_chars=20)) as parser:
        for name, data in (("a.txt", b"word " * 10), ("a.pdf", pdf_file(*PAGES))):
            with pytest.raises(errors.DocumentTooLarge):
                await parsed(parser, name, data)


async def test_a_spent_budget_starts_nothing(parser):
    with pytest.raises(errors.DeadlineExceeded):
        await parser.parse(DocumentSource("a.pdf", pdf_file(*PAGES)), budget=Budget.of(0))
    assert parser.child.pid is None


async def test_closing_twice_is_harmless():
    child = ParsingChild(ParseLimits())
    await child.close()
    await child.close()


MARKUP = st.text(st.sampled_from("#-*=`|~>ab1. \n\t<p/>;,\"'[]{}:\r\0é漢")) | st.text()


@given(MARKUP, st.sampled_from(["a.md", "a.txt", "a.html", "a.csv", "a.tsv", "a.jsonl"]))
def test_blocks_are_disjoint_in_order_trimmed_and_never_blank(text, name):
    source = DocumentSource(name, text.encode("utf-8", "replace"))
    try:
        document = parse_text(source.data, decide(source), ParseLimits())
    except errors.DocumentError:
        return
    position = 0
    for block in document.blocks:
        assert position <= block.start_char < block.end_char <= len(document.text)
        assert document.text[block.start_char : block.end_char].strip()
        position = block.end_char


@given(MARKUP)
def test_text_and_markdown_lose_nothing(text):
    for name in ("a.md", "a.txt"):
        source = DocumentSource(name, text.encode("utf-8", "replace"))
        try:
            document = parse_text(source.data, decide(source), ParseLimits())
        except errors.DocumentError:
            continue
        if "\0" not in text and "\ufeff" not in text:
            assert "".join(document.text.split()) == "".join(
                "".join(" " if 0 <= ord(c) < 32 or 127 <= ord(c) < 160 else c for c in source.data.decode()).split()
            )
