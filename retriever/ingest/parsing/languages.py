"""Which language in Latin letters a text of an old encoding is in, and so which encoding that is.

Rule 1: a language's commonest words have ASCII letters alone: they tell the language whatever the encoding.
Rule 2: the encoding is the one in which all other letters are that language's and stand where letters stand: byte 0xE3
        is "ã" in Portuguese and "ă" in Romanian, 0xB3 is "ł" within a Polish word and "³" behind a number.
Rule 3: where two readings remain that differ in a letter, nobody can tell, and none is taken.
"""

# ruff: noqa: RUF001, RUF003 - signs that look like others are what this module is about

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

# Of all letters, how many may lie outside of ASCII: in Czech and Turkish prose 15 %, in what is not Latin nearly all.
MAX_FOREIGN_SHARE = 0.25
# Of all words, how many are among a language's commonest: prose in it shows 20 to 40 %, of long words 12 (Turkish).
MIN_WORD_SHARE = 0.1
MIN_WORDS = 2  # one may be chance
MIN_LEAD = 1.5  # over every language that fits and reads otherwise
MAX_MISFITS = 0.04  # of the letters outside of ASCII: names of other countries and slips
WORDS_PER_SLIP = 100  # as many common words allow for one sign at an odd place: "Smith†", "W/k³s"
MAX_BORROWED = 0.5  # letters of a Western neighbour, in a text whose words are told: names, or a text in two languages

# Read in this order; of two that agree the first is named.
_CHARSETS = ("cp1252", "iso8859-15", "cp1250", "iso8859-2", "cp1254", "cp1257")
_WEST, _EAST, _TURKISH, _BALTIC = _CHARSETS[:2], _CHARSETS[2:4], _CHARSETS[4:5], _CHARSETS[5:]
_WESTERN_LETTERS = "àáâãäåæçèéêëíïñòóôöøùúüœß"
# Of names and loans; "ò" is oftener a Czech "ň" read wrongly, "õ" a Hungarian "ő".
_ENGLISH_LETTERS = "àáâãäåæçèéêëíïñóôöøúüœß"
_SIGNS = frozenset("‘’‚“”„–—…«»‹›€£¥©®™§°•·´¿¡ºª²³¼½¾×±†‰µ\xa0\xad")
# Within a word only apostrophes, dots and dashes stand: "l’été", "col·lecció", "yes—no"; an ordinal's sign ends one.
# The rest are letters of DOS and the old Macintosh: "n‘rmeste", "m†", "hyviss„".
_MISPLACED = re.compile(
    r"(?<=[^\W\d_])[^\w\s\x00-\x7f‘’´·–—…×±\xa0\xad](?=[^\W\d_])|(?<![\dmM])[²³¹ªº](?=[^\W\d_ªº²³¹])|(?<=[^\W\d_])[¼½¾¿¡‘‚„•†‡]"
    r"|[†‡](?=[^\W\d_])|[‚„](?=[\s‚„])"
)
_WITHIN = re.compile(r"[^\W\d_](?![\x00-\x7f])[^\W\d_]")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class _Language:
    charsets: tuple[str, ...]
    letters: str
    words: frozenset[bytes]
    has_neighbours: bool = False  # borrows letters of the other Western languages


def _western(letters: str, words: str) -> _Language:
    return _Language(_WEST, letters + letters.upper(), frozenset(words.encode().split()), has_neighbours=True)


def _other(charsets: tuple[str, ...], letters: str, words: str) -> _Language:
    return _Language(charsets, letters + letters.upper(), frozenset(words.encode().split()))


_LANGUAGES = (
    _other(
        _WEST,
        _ENGLISH_LETTERS,
        "the of and to in is that for it as was with be on not by this are or from at which you",
    ),
    _western(
        "àâæçèéêëîïôœùûüÿŸ", "de la le les et des en un une du que est pour dans qui par sur pas au plus ne ce il sont"
    ),
    _western("áéíñóúü", "de la que el en los se del las un por con no una su para es al lo como sus pero o"),
    _western("áâãàçéêíóôõúü", "de a o que e do da em um para com os no se na por as uma dos mais ao ou pelo sobre"),
    _western(
        "àèéìíîòóùú", "di e il la che in un per del si non una con da le della dei i al sono alla ha nel se entro"
    ),
    _western(
        "äöüßé", "der die und in den von zu das mit sich des auf ist im dem nicht ein eine als auch es an wird vor"
    ),
    _western("äåöé", "och i att det som en av till den med de har inte om ett han men var jag sig efter ska vid"),
    _western("äöå", "ja on ei se oli ovat joka mutta sen kun tai niin kuin kanssa jos voi hyvin siihen ole mukaan"),
    _western(
        "æøåéèêòóô", "og i det at en til er som den de med av af ikke et har om var men skal ble blev alle kan fra"
    ),
    _western(
        "éëïóöèêüáíúà", "de van een het en in is dat op te zijn met voor niet aan er om ook als maar bij door wordt"
    ),
    _western("áðéíóúýþæö", "og er sem til um ekki en hann var af fyrir eru kl hefur innan skal kemur"),
    _western("àçèéíïóòúü", "de la el i que a les en per un amb del no una es al com dels o hi ha pot"),
    _western("äõöü", "ja on ei et see ka kui oli mis aga kes oma siis kuid selle mille jaoks"),
    _other(_EAST, "ąćęłńóśźż", "w i na do z nie jest to o od za przed dla po ale przez jak lub oraz ma co tym"),
    _other(_EAST, "áčďéěíňóřšťúůýž", "a v na se je do o z s k ve za po pro jako od ale by podle jsou nebo"),
    _other(_EAST, "áäčďéíľňóôšťúýž", "a v na sa je do o z s k vo za po pre ako od ale by podla alebo ktor"),
    _other(_EAST, "áéíóöőúüű", "a az egy nem hogy van kell meg ki be el ez volt aki is vagy csak mint minden annak"),
    _other(_EAST, "ăâîşţ", "de la pe cu nu din care un o este se sunt mai prin sau iar cel al ale are trebuie pentru"),
    _other(_EAST, "čćđšž", "i u je na se da za od su s ne a koji koje ili do kao iz in pa po ki bi ter za mora prema"),
    _other(_TURKISH, "âçğıîöşüûİ", "ve bir bu da de ne ile olan olarak daha en gibi kadar sonra var ama veya hakk her"),
    _other(_BALTIC, "ąčęėįšųūž", "ir yra kad iki su tai bet ar kaip buvo po nuo turi apie arba per pagal jis"),
    _other(_BALTIC, "āčēģīķļņšūž", "un ir ar no par ka uz bet kas tas vai pie jo kura lai tiek"),
    _other(_BALTIC, "äõöüšž", "ja on ei et see ka kui oli mis aga kes oma siis kuid selle mille jaoks"),
)


@dataclass(slots=True)
class _Reading:
    """A text as one charset reads it: its letters outside of ASCII, and how many signs stand where they cannot."""

    charset: str
    text: str
    letters: Counter[str] = field(default_factory=Counter)
    misplaced: int = 0

    def fits(self, language: _Language, hits: int) -> bool:
        """Whether its letters are the language's, of whose commonest words `hits` are in the text."""
        total = self.letters.total()
        own = sum(self.letters[letter] for letter in set(language.letters))
        borrowed = 0
        if hits and language.has_neighbours:
            neighbours = set(_WESTERN_LETTERS + _WESTERN_LETTERS.upper()) - set(language.letters)
            borrowed = sum(self.letters[letter] for letter in neighbours)
        return (
            total - own - borrowed <= MAX_MISFITS * total
            and self.misplaced <= MAX_MISFITS * total + hits // WORDS_PER_SLIP
            and borrowed <= MAX_BORROWED * total
        )


def latin_charset(data: bytes) -> str | None:
    """The charset of a text in Latin letters: "" where it cannot be told, None where the letters are others'."""
    words = _WORD.findall(data)
    letters = sum(map(len, words))
    if not letters or sum(byte >= 0x80 for byte in data) > MAX_FOREIGN_SHARE * letters:
        return None
    common = Counter(word.lower() for word in words)
    readings = [reading for charset in _CHARSETS if (reading := _read(data, charset))]
    found: list[tuple[int, _Reading]] = []
    for language in _LANGUAGES:
        hits = sum(common[word] for word in language.words)
        if hits < max(MIN_WORDS, MIN_WORD_SHARE * len(words)):
            hits = 0
        candidates = (reading for reading in readings if reading.charset in language.charsets)
        found += [(hits, reading) for reading in candidates if reading.fits(language, hits)]
    return _decided(found)


def _decided(found: list[tuple[int, _Reading]]) -> str:
    """The reading that leads all that differ from it, or that none differs from."""
    if not found:
        return ""
    most, best = max(found, key=lambda scored: scored[0])
    if not most and best.charset not in _WEST:
        return ""  # without a word that tells it, only the encoding of most such texts is taken
    others = [hits for hits, reading in found if reading.text != best.text]
    return best.charset if not others or most >= MIN_LEAD * max(*others, 1) else ""


def _read(data: bytes, charset: str) -> _Reading | None:
    try:
        text = data.decode(charset)
    except UnicodeDecodeError:
        return None
    outside = Counter(text)
    letters = Counter({char: outside[char] for char in outside if char > "\x7f" and char not in _SIGNS})
    misplaced = len(_MISPLACED.findall(text)) + sum(
        pair[0].islower() and pair[1].isupper() for pair in _WITHIN.findall(text)
    )
    return _Reading(charset, text, letters, misplaced)
