"""Real files, made by the programs' own libraries, and PDFs written by hand."""

from __future__ import annotations

import io
import zipfile

import docx
import openpyxl
import pptx
from docx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls


def docx_file() -> bytes:
    document = docx.Document()
    document.add_heading("Leave", 1)
    document.add_paragraph("Everybody has 25 days of leave.")
    document.add_heading("Sick leave", 2)
    document.add_paragraph("Call before nine.", style="List Bullet")
    table = document.add_table(2, 2)
    for row, cells in enumerate((("Name", "Days"), ("Ann", "25"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    return _saved(document)


def wrapped_docx_file() -> bytes:
    """A document as Word leaves it: a cover in a content control, tracked changes, a field, a text box, a footnote."""
    document = docx.Document()
    body = document.element.body
    changed = document.add_paragraph("The limit is ")._p
    for xml in (
        "<w:del %s><w:r><w:delText>40</w:delText></w:r></w:del>",
        "<w:ins %s><w:r><w:t>55</w:t></w:r></w:ins>",
        "<w:sdt %s><w:sdtContent><w:r><w:t> pounds</w:t></w:r></w:sdtContent></w:sdt>",
        '<w:r %s><w:t>.</w:t><w:footnoteReference w:id="2"/></w:r>',
        "<w:r %s><w:pict><w:txbxContent><w:p><w:r><w:t>Mind the step.</w:t></w:r></w:p></w:txbxContent></w:pict></w:r>",
    ):
        changed.append(parse_xml(xml % nsdecls("w")))
    cover = "<w:sdt %s><w:sdtContent><w:p><w:r><w:t>Issued by Kim.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    body.insert(0, parse_xml(cover % nsdecls("w")))
    notes = (
        '<w:footnotes %s><w:footnote w:id="2"><w:p><w:r><w:t>Since May.</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    part = Part(PackURI("/word/footnotes.xml"), CONTENT_TYPE.WML_FOOTNOTES, (notes % nsdecls("w")).encode())
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    return _saved(document)


def pptx_file() -> bytes:
    deck = pptx.Presentation()
    for title, body in (("Plan", "Build it\nShip it"), ("Risks", "None")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    deck.slides[1].notes_slide.notes_text_frame.text = "Smile."
    return _saved(deck)


def xlsx_file() -> bytes:
    book = openpyxl.Workbook()
    pay, rates = book.create_sheet("Pay"), book.create_sheet("Rates")
    book.remove(book.worksheets[0])
    for row in (["Name", "Pay"], ["Ann", 12.5], ["Bob", 3]):
        pay.append(row)
    rates.append([1, 2])
    return _saved(book)


def _saved(document) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def zip_file(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def pdf_file(*pages: list[str], trailer: bytes = b"") -> bytes:
    """A PDF with a text layer: one list of lines per page."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        shown = b" ".join(b"(%s) Tj T*" % line.encode() for line in lines)
        stream = b"BT /F1 12 Tf 72 720 Td 14 TL " + shown + b" ET"
        bodies.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        font = b"<< /Font << /F1 3 0 R >> >>"
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources %s >>"
        bodies.append(page % (len(bodies), font))
        kids.append(b"%d 0 R" % len(bodies))
    bodies[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(kids))
    return _assembled(bodies, trailer)


def _assembled(bodies: list[bytes], trailer: bytes) -> bytes:
    file, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    size = len(bodies) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % size + b"".join(b"%010d 00000 n \n" % at for at in offsets)
    return file + table + b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF" % (size, trailer, len(file))
