"""Bytes to text. UTF-8 first; anything else must be certain, for a wrong guess is text nobody can find."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from chassis.errors import DocumentEncodingInvalid, DocumentUnreadable
from retriever.ingest.parsing.languages import latin_charset
from retriever.ingest.parsing.text import readable

_BOMS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# charset-normalizer's measures: chaos is the share of improbable characters, coherence how well letters fit a language.
# Prose shows chaos 0 to .1 and coherence .5 to 1; noise is above .2 or coheres with nothing.
MAX_CHAOS = 0.15
MIN_COHERENCE = 0.3
# Greek read as Cyrillic has .06 to .12 more chaos than as Greek, and a coherence that may even be higher.
MIN_CHAOS_LEAD = 0.05
MAX_RIVAL = 0.75  # Hebrew read as Cyrillic has no more chaos; of a paragraph's coherence it has .6 at most
# What is believed of it. Latin letters it takes for Turkish, Vietnamese or the Macintosh's: their words tell them.
_CYRILLIC = {"cp1251", "koi8_r", "koi8_u", "cp866", "cp1125", "iso8859_5"}
_GREEK_TO_THAI = {"cp1253", "iso8859_7", "cp1255", "cp1256", "cp874"}
_EAST_ASIAN = {"cp932", "shift_jis", "euc_jp", "euc_jis_2004", "gb18030", "big5", "big5hkscs", "cp949", "euc_kr"}
_NOT_LATIN = frozenset(_CYRILLIC | _GREEK_TO_THAI | _EAST_ASIAN)
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

_UTF8_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

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
    charset = "" if _is_damaged_utf8(head) else latin_charset(head)
    if charset is None:
        charset = _other_charset(head)
    if not charset:
        raise DocumentEncodingInvalid("the text is not UTF-8 and its encoding cannot be told: send it as UTF-8")
    return charset


def _is_damaged_utf8(head: bytes) -> bool:
    """Whether most of it is UTF-8 after all: read as anything else, each letter would become two."""
    return 2 * sum(map(len, _UTF8_LETTER.findall(head))) > sum(byte >= 0x80 for byte in head)


def _other_charset(head: bytes) -> str:
    """The charset of a text in other than Latin letters; "" where another one reads it about as well."""
    matches = from_bytes(head)
    best = matches.best()
    if best is None or best.encoding not in _NOT_LATIN:
        return ""
    if best.chaos > MAX_CHAOS or best.coherence < MIN_COHERENCE:
        return ""
    rivals = [match for match in matches if match.encoding in _NOT_LATIN and str(match) != str(best)]
    is_certain = all(
        match.chaos > best.chaos + MIN_CHAOS_LEAD or match.coherence < best.coherence * MAX_RIVAL for match in rivals
    )
    return best.encoding if is_certain else ""


def declared_charset(data: bytes) -> str:
    """The charset the page names in its head (HTML); "" for none."""
    found = _META_CHARSET.search(data[:_META_WITHIN])
    return found[1].decode("ascii").lower() if found else ""
