"""Bytes to text. UTF-8 first; anything else must be certain, for a wrong guess is text nobody can find."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from chassis.errors import DocumentEncodingInvalid, DocumentUnreadable
from retriever.ingest.parsing.text import readable

_BOMS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# charset-normalizer's measures: chaos is the share of improbable characters, coherence how well letters fit a language.
# Western prose in cp1252 shows chaos 0 to .1 and coherence .5 to 1; noise is above .2 or coheres with nothing.
MAX_CHAOS = 0.15
MIN_COHERENCE = 0.3
# Families of charsets we take a declaration of; Python has quadratic and odd codecs too (punycode, unicode_escape).
_CHARSETS = (
    "utf",
    "iso-8859",
    "latin",
    "windows-",
    "cp",
    "us-ascii",
    "ascii",
    "mac",
    "koi8",
    "shift_jis",
    "sjis",
    "euc",
    "gb",
    "big5",
)
# Labels that mean a larger charset than they say: so browsers read them, and so the world writes them (the Encoding
# standard, 4.2). By the letter, the euro sign and the quotes of a page called iso-8859-1 are control characters.
_MEANT = {
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("iso-8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("gb2312", "gbk", "gb_2312-80"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis"), "cp932"),
    "euc-kr": "cp949",
}
SAMPLE_BYTES = 1 << 18  # what is judged; the whole is then decoded strictly
# More NULs than this among the first bytes are no stray characters: it is UTF-16 without its mark, or no text at all.
MAX_NUL_SHARE = 0.01
STRAY_NULS = 2  # in a note of a few words one is already more than that share

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_META_WITHIN = 1024  # HTML standard 13.2.3.2: the prescan looks at the first 1,024 bytes


def decode(data: bytes, declared: str = "") -> str:
    """The text of a file, line ends and control characters normalised.

    Args:
        data: The file.
        declared: A charset its owner named ("iso-8859-1"); "" for none.
    Raises:
        DocumentEncodingInvalid: not UTF-8, and what it is cannot be told.
        DocumentUnreadable: binary data.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return readable(_strict(data, encoding))
    head = data[:SAMPLE_BYTES]
    if head.count(0) > max(STRAY_NULS, len(head) * MAX_NUL_SHARE):
        return readable(_strict(data, _wide(head)))
    try:
        return readable(data.decode("utf-8"))
    except UnicodeDecodeError:
        return readable(_strict(data, _meant(data, declared) if declared.startswith(_CHARSETS) else _guessed(head)))


def _meant(data: bytes, declared: str) -> str:
    """The charset a label stands for; the label itself where the bytes are not of the larger one."""
    larger = _MEANT.get(declared, declared)
    try:
        data.decode(larger)
    except (UnicodeDecodeError, LookupError):
        return declared
    return larger


def _strict(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as exc:
        raise DocumentEncodingInvalid("the text is not valid in its encoding: send it as UTF-8") from exc


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: in most scripts one of two bytes repeats; Latin text has NUL in every other place."""
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if zeros.count(0) > 0.5 * len(zeros) and zeros.count(0) > 0.9 * head.count(0):
            return encoding
    raise DocumentUnreadable("the document is binary data, not text: name its content type")


def _guessed(head: bytes) -> str:
    best = from_bytes(head).best()
    if best is None or best.percent_chaos > 100 * MAX_CHAOS or best.percent_coherence < 100 * MIN_COHERENCE:
        raise DocumentEncodingInvalid("the text is not UTF-8 and its encoding cannot be told: send it as UTF-8")
    return best.encoding


def declared_charset(data: bytes) -> str:
    """The charset the page names in its head (HTML); "" for none."""
    found = _META_CHARSET.search(data[:_META_WITHIN])
    return found[1].decode("ascii").lower() if found else ""
