"""Takes personal data out of a question before anything else sees it.

Rule 1: what was redacted is gone for every later stage: embedding, retrieval, prompt, cache, spans.
Rule 2: a redacted question is neither looked up nor stored: two different numbers leave the same words behind.
Rule 3: every pattern is bounded or never tried twice, so that no question of the largest size makes matching quadratic.
Rule 4: a number that carries its own proof is taken by it: cards by Luhn's sum, IBANs by their remainder. What fails it
        (years, dates, part numbers, an order of sixteen digits) is left, for without its numbers a question is another.
Rule 5: whole or not at all: half of an account number still is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

REDACTED: Final = "[redacted]"
REDACTION_VERSION: Final = "pii-2"  # part of the cache key: raise it with every change of what is redacted

_BETWEEN: Final = r"[ \t\u00a0\u2007\u2009\u202f.\-\u2010-\u2015]{0,3}"  # three: a dash between two blanks
# 13 digits or more, in groups or not; letters and underscores may touch them ("card4111...").
_NUMBERS: Final = re.compile(rf"(?<!\d)\d(?:{_BETWEEN}+\d){{12,}}+")
_GROUP: Final = re.compile(r"\d+")
_FEWEST_DIGITS, _MOST_DIGITS = 13, 19  # ISO/IEC 7812: those of cards in use
# What the networks' numbers begin with (American Express and Diners 3, Visa 4, Mastercard 5 and 2, Discover and
# UnionPay 6, Maestro 5 and 6, RuPay 8, Troy 9): no year does, nor a time in milliseconds, nor an ISBN.
_ISSUERS: Final = re.compile(r"[3-6]|2[2-7]|8[12]|9792")
# How cards print their groups. A card written otherwise is found when no other number stands beside it.
_PRINTED: Final = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (8, 8), (6, 13))
_IBAN: Final = re.compile(rf"(?<![^\W_])(?=([A-Za-z]{{2}}[0-9]{{2}}(?:{_BETWEEN}[A-Za-z0-9]){{11,30}})(?![A-Za-z0-9]))")
# ISO 13616: how many signs a country's have. Without, one in fifty would be taken for a shorter one.
_IBANS: Final = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18
FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24
SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_SIGNS: Final = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
_IBAN_SIGN: Final = re.compile(r"[A-Za-z0-9]")
_PATTERNS: Final = (
    # E-mail, in any script; RFC 5321 bounds the local part at 64. A last label of digits is a version ("react@18.2.0").
    re.compile(r"(?:[\w.%+-]|(?<=\w)['\u2019&](?=\w)){1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62}"),
    re.compile(r"(?<!\d)(?<!\d-)\d{3}-\d{2}-\d{4}(?!-?\d)"),  # United States social security number
)


def redact(text: str) -> tuple[str, bool]:
    """The text with everything personal replaced by REDACTED, and whether there was any."""
    whole = text
    for pattern in _PATTERNS:
        whole = pattern.sub(REDACTED, whole)
    whole = _NUMBERS.sub(_without_cards, _without_ibans(whole))
    return whole, whole != text


def _without_ibans(text: str) -> str:
    kept, position = [], 0
    for match in _IBAN.finditer(text):
        if match.start() >= position and (length := _iban_length(match[1])):
            kept += [text[position : match.start()], REDACTED]
            position = match.start() + length
    return "".join([*kept, text[position:]])


def _iban_length(text: str) -> int:
    """How much of the text, which may go on in words, is an IBAN; 0 when none."""
    count = _IBAN_SIGNS.get(text[:2].upper(), 0)
    found = list(_IBAN_SIGN.finditer(text))[:count]
    if not found or len(found) < count or text[found[-1].end() :][:1].isalnum():
        return 0
    signs = "".join(sign.group() for sign in found)
    remainder = int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97
    return found[-1].end() if remainder == 1 else 0


def _without_cards(match: re.Match[str]) -> str:
    text = match.group()
    groups = list(_GROUP.finditer(text))
    kept, position = [], 0
    for first, last in _cards([group.group() for group in groups]):
        kept += [text[position : groups[first].start()], REDACTED]
        position = groups[last].end()
    return "".join([*kept, text[position:]])


def _cards(groups: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The first and the last group of every card."""
    sizes = {len(group) > 2 for group in groups}  # pairs of digits, or groups: a date has both
    if len(sizes) == 1 and _is_card("".join(groups)):
        yield 0, len(groups) - 1
        return
    start = 0
    while start < len(groups):
        length = _printed(groups[start : start + 5])
        if length:
            yield start, start + length - 1
        start += length or 1


def _printed(groups: Sequence[str]) -> int:
    """How many of these groups, from the first, are a card; 0 when none."""
    if _is_card(groups[0]):
        return 1
    sizes = tuple(map(len, groups))
    shapes = (shape for shape in _PRINTED if sizes[: len(shape)] == shape)
    return next((len(shape) for shape in shapes if _is_card("".join(groups[: len(shape)]))), 0)


def _is_card(digits: str) -> bool:
    if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS or not _ISSUERS.match(digits):
        return False
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)) % 10 == 0  # Luhn's
