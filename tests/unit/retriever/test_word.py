"""Word documents as forms and reviews have them: nothing a reader sees is lost, no cell changes its column."""

from __future__ import annotations

import io

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from tests.unit.retriever.reading import parsed

NAMES = ("Task", "Owner", "Due")


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"


def row(*cells: str) -> str:
    return f"<w:tr>{''.join(cells)}</w:tr>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/><w:tblGrid/>{''.join(rows)}</w:tbl>"


def control(inner: str) -> str:
    return f"<w:sdt><w:sdtPr/><w:sdtContent>{inner}</w:sdtContent></w:sdt>"


def wrapped(tag: str, inner: str) -> str:
    return f"<w:{tag}>{inner}</w:{tag}>"


def file_of(body: str) -> bytes:
    document = docx.Document()
    for element in reversed(list(parse_xml(f"<w:body {nsdecls('w', 'm')}>{body}</w:body>"))):
        document.element.body.insert(0, element)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


HEAD = row(*map(cell, NAMES))
OWNED = row(cell("Draft"), control(cell("Kim")), cell("Friday"))


@pytest.mark.parametrize(
    "rows",
    [
        OWNED,
        row(cell("Draft"), control(control(cell("Kim"))), cell("Friday")),
        row(cell("Draft"), wrapped("customXml", cell("Kim")), cell("Friday")),
        control(OWNED),
        control(control(OWNED)),
        wrapped("customXml", OWNED),
        wrapped("ins", OWNED),
    ],
)
async def test_cells_and_rows_in_controls_keep_their_columns(parser, rows):
    document = await parsed(parser, "a.docx", file_of(table(HEAD, rows)))
    assert document.text == "Task | Owner | Due\nTask: Draft; Owner: Kim; Due: Friday"


async def test_merged_cells_count_for_every_column_and_row_they_span(parser):
    wide = row(cell("Tests", '<w:gridSpan w:val="2"/>'), cell("Monday"))
    first = row(cell("Draft"), cell("Kim", '<w:vMerge w:val="restart"/>'), cell("Friday"))
    second = row(cell("Print"), cell("", "<w:vMerge/>"), cell("Sunday"))
    late = f"<w:tr><w:trPr><w:gridBefore w:val='2'/></w:trPr>{cell('Never')}</w:tr>"
    document = await parsed(parser, "a.docx", file_of(table(HEAD, wide, first, second, late)))
    assert document.text.split("\n")[1:] == [
        "Task: Tests; Due: Monday",
        "Task: Draft; Owner: Kim; Due: Friday",
        "Task: Print; Owner: Kim; Due: Sunday",
        "Due: Never",
    ]


async def test_deleted_rows_and_words_of_a_table_stay_out(parser):
    gone = f"<w:tr><w:trPr><w:del w:id='1'/></w:trPr>{''.join(map(cell, ('Old', 'Ann', 'May')))}</w:tr>"
    struck = "<w:tc><w:p><w:del><w:r><w:delText>Ann</w:delText></w:r></w:del><w:r><w:t>Kim</w:t></w:r></w:p></w:tc>"
    document = await parsed(parser, "a.docx", file_of(table(HEAD, gone, row(cell("Draft"), struck, cell("Friday")))))
    assert document.text == "Task | Owner | Due\nTask: Draft; Owner: Kim; Due: Friday"


async def test_a_text_box_says_what_its_controls_and_tables_hold(parser):
    inner = control("<w:p><w:r><w:t>Mind the step.</w:t></w:r></w:p>") + table(HEAD, OWNED)
    box = f"<w:p><w:r><w:t>See:</w:t><w:pict><w:txbxContent>{inner}</w:txbxContent></w:pict></w:r></w:p>"
    document = await parsed(parser, "a.docx", file_of(box))
    assert document.text == "See:\n\nMind the step.\n\nTask | Owner | Due\nTask: Draft; Owner: Kim; Due: Friday"


@pytest.mark.parametrize(
    ("math", "said"),
    [
        ("<m:r><m:t>E=mc2</m:t></m:r>", "Energy is E=mc2."),
        (
            "<m:sSup><m:e><m:r><m:t>10</m:t></m:r></m:e><m:sup><m:r><m:t>6</m:t></m:r></m:sup></m:sSup>",
            "Energy is 10^6.",
        ),
        ("<m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>", "Energy is 1/2."),
        ("<m:r><w:rPr/><m:t>x</m:t></m:r><w:del><m:r><m:t>y</m:t></m:r></w:del>", "Energy is x."),
    ],
)
async def test_equations_are_part_of_their_sentence(parser, math, said):
    words = "<w:r><w:t xml:space='preserve'>Energy is </w:t></w:r>"
    sentence = f"<w:p>{words}<m:oMath>{math}</m:oMath><w:r><w:t>.</w:t></w:r></w:p>"
    assert (await parsed(parser, "a.docx", file_of(sentence))).text == said
