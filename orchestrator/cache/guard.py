"""Decides whether two near questions ask the same thing. Cosine cannot: "2023" and "2024" are .97 alike.

Rule 1: a difference that can change the answer refuses the hit: numbers, versions, dates, quoted strings, names and
        identifiers, signs ("<" is not ">", nor one emoji another), polarity, direction of a comparison, what is asked
        for (who, when, how many, why), units, time; so does what light words tell of the others: who acts on whom
        (roles.py), may or must (shades.py).
Rule 2: a difference in words that carry nothing (articles, auxiliaries, "best", "way") does not.
Rule 3: any other word that one question has and the other has not, in no related form, refuses the hit too: the guard
        has no thesaurus, and a wrong answer costs more than a miss. Two questions may differ in MAX_STRAY such words in
        all when they share enough others.

Pure, symmetric, and reflexive on normalised text (tested as such). Measured by bench/quality/cache.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orchestrator.cache.polarity import NEGATIVE_PREFIXES, NEGATORS, RIVALS, SYNONYMS, word_list
from orchestrator.cache.roles import Roles, have_same_roles, read_roles
from orchestrator.cache.shades import ACTIONS, Shades, have_same_shades, read_shades

GUARD_VERSION: Final = "guard-3"  # part of the cache key: raise it with every change of what passes
MAX_STRAY: Final = 0  # unmatched content words on both sides together; see bench/quality/cache.py for 0, 1 and 2

_WORD = re.compile(r"[^\W_]+(?:['.\-_/+#&:]+[^\W_]+)*[+#]*|[%$\u20ac\u00a3\u00a5]")
_NUMBER = re.compile(r"(?:(?<![\w\-])-)?\d+(?:[.,:/\-]\d+)*")
# Whatever is no word, white space or punctuation of prose; "!" and "." where code has them (!=, !x, .net).
_SIGN = re.compile(
    r"[^\w\s.,;:?!'\"`()\[\]{}/\-\u00a1\u00ab\u00bb\u00bf\u2010-\u2027\u2030-\u205e\u3001-\u3011\uff01-\uff0f\uff1a-\uff20]"
    r"|!(?=[\w=(])|(?<!\w)\.(?=[^\W\d_])"
)
_QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_CODE = re.compile(r"(?<!\w)(?:--?[A-Za-z][\w-]*|[\w.]*\w\(\)|(?:~|\.{0,2})/[\w./-]+)")
_CAMEL = re.compile(r"[a-z][A-Z]")

_NUMBER_WORDS: Final = {
    word: str(value)
    for value, word in enumerate(word_list("two three four five six seven eight nine ten eleven twelve"), start=2)
} | {
    "twenty": "20", "thirty": "30", "fifty": "50", "hundred": "100", "thousand": "1000", "million": "1000000",
    "billion": "1000000000", "twice": "2", "double": "2", "triple": "3", "half": "0.5",
}  # fmt: skip

# Words that may be there or not. None of them is a name, a thing or an action of its own.
_LIGHT: Final = frozenset(
    word_list(
        """
        a an the this that these those there here it its it's is are was were be been being am do does did doing done
        have has had having will would shall should can could may might must i i'm i've me my mine myself we us our ours
        you your yours yourself someone somebody anyone people person they them their theirs one of in on at by for to
        from into with about as and or but if so than then too also really very much any some please tell explain
        describe know think want need like get getting got make making made go going take find use using used good best
        better great nice way ways method methods tip tips thing things most effective easy easily simple possible
        exactly actually ever currently now today what what's whats which who whom whose when where why how how's mean
        meaning means exact there's that's who's where's when's you've you're we've we're they're s t d ll re ve m give
        become happen happens kind type types sort example examples
        """
    )
)
_PAST: Final = frozenset(word_list("was were did had used"))
_FUTURE: Final = frozenset(word_list("will shall won't gonna"))

_QUANTITIES: Final = frozenset(
    word_list("many much long often far old tall big fast high deep heavy large soon expensive good effective")
)
_ASPECTS: Final = {
    "who": "person", "whom": "person", "whose": "owner", "when": "time", "where": "place", "why": "reason",
    "what": "thing", "what's": "thing", "whats": "thing", "which": "thing", "how": "manner", "how's": "manner",
    "who's": "person", "where's": "place", "when's": "time",
}  # fmt: skip
# Asked in either form: "How can I learn" and "What is the best way to learn", "Which is" and "What is".
_COMPATIBLE: Final = frozenset(
    {frozenset({"thing", "manner"}), frozenset({"thing", "place"}), frozenset({"thing", "person"})}
)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a question is held to."""

    numbers: frozenset[str]
    signs: frozenset[str]
    quoted: frozenset[str]
    code: frozenset[str]
    names: frozenset[str]
    words: tuple[str, ...]
    negations: int
    aspect: str
    tense: str
    content: frozenset[str]  # stems of everything that is not light
    roles: Roles
    shades: Shades


def is_same_question(first: str, second: str) -> bool:
    """Whether an answer to one may be given to the other."""
    a, b = _facts(first), _facts(second)
    return (
        a.numbers == b.numbers
        and a.signs == b.signs
        and a.quoted == b.quoted
        and a.code == b.code
        and a.negations % 2 == b.negations % 2
        and _same_aspect(a.aspect, b.aspect)
        and a.tense == b.tense
        and not _are_opposed(a, b)
        and not _are_reversed(a, b)
        and have_same_roles(a.roles, b.roles)
        and have_same_shades(a.shades, b.shades, min(len(a.content), len(b.content)))
        and _has_names(a, b)
        and _has_names(b, a)
        and _strays(a, b) + _strays(b, a) <= MAX_STRAY
    )


@lru_cache(maxsize=1_024)  # a candidate is judged again with every near question
def _facts(text: str) -> _Facts:
    tokens = [match.group() for match in _WORD.finditer(text.replace("\u2019", "'"))]
    words = tuple(token.lower() for token in tokens)
    names = frozenset(_names(tokens))
    light = _LIGHT | NEGATORS
    stems = [  # "US" is not "us"
        _stem(word) if word not in light or token in names else "" for token, word in zip(tokens, words, strict=True)
    ]
    aspects = _aspects(words)
    return _Facts(
        numbers=_numbers(text, words),
        signs=frozenset(_SIGN.findall(text)),
        quoted=frozenset(next(filter(None, found)).lower() for found in _QUOTED.findall(text)),
        code=frozenset(_CODE.findall(text)),
        names=names,
        words=words,
        negations=sum(word in NEGATORS for word in words),
        aspect=aspects[0] if aspects else "",
        tense="past" if _PAST & set(words) else "future" if _FUTURE & set(words) else "",
        content=frozenset(filter(None, stems)),
        roles=read_roles(words, stems),
        shades=read_shades(words, aspects),
    )


def _numbers(text: str, words: tuple[str, ...]) -> frozenset[str]:
    digits = {number.replace(",", "") for number in _NUMBER.findall(text)}
    return frozenset(digits | {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS})


def _names(tokens: list[str]) -> list[str]:
    """Capitalised words past the first, acronyms, and tokens that look like code, as they are written."""
    return [
        token
        for position, token in enumerate(tokens)
        if (token[0].isupper() and position > 0 and token.lower() not in {"i", "i'm", "i've"})
        or (token.isupper() and len(token) > 1)
        or _CAMEL.search(token)
        or "_" in token
    ]


def _has_names(a: _Facts, b: _Facts) -> bool:
    """Every name of `a` is in `b`, in whatever case, unless its small letters are a light word ("US", "us")."""
    stems = {_stem(word) for word in b.words}
    return all(name in b.names or (name.lower() not in _LIGHT and _stem(name.lower()) in stems) for name in a.names)


def _aspects(words: tuple[str, ...]) -> list[str]:
    """All that is asked for, in order."""
    found = []
    for position, word in enumerate(words):
        if word in _ASPECTS:
            following = words[position + 1] if position + 1 < len(words) else ""
            found.append(f"how {following}" if word == "how" and following in _QUANTITIES else _ASPECTS[word])
    return found


def _same_aspect(a: str, b: str) -> bool:
    if a == b:
        return True
    if a.startswith("how ") or b.startswith("how ") or not (a and b):
        return False
    return frozenset({a, b}) in _COMPATIBLE


def _are_opposed(a: _Facts, b: _Facts) -> bool:
    """A word of one stands where its opposite or rival stands in the other."""
    only_a, only_b = set(a.words) - set(b.words), set(b.words) - set(a.words)
    if any(RIVALS.get(word, frozenset()) & only_b for word in only_a):
        return True
    if any(_STEM_RIVALS.get(stem, frozenset()) & b.content - a.content for stem in a.content - b.content):
        return True  # "employees" and "employer"
    return any(prefix + word in only_b for word in only_a for prefix in NEGATIVE_PREFIXES) or any(
        prefix + word in only_a for word in only_b for prefix in NEGATIVE_PREFIXES
    )


def _are_reversed(a: _Facts, b: _Facts) -> bool:
    """The same things in another order: "convert A to B", "do women like men". Costs some true pairs; see the bench."""
    return _shared_order(a, b) != _shared_order(b, a)


def _shared_order(a: _Facts, b: _Facts) -> list[str]:
    """The content stems and light verbs of `a` that `b` has too, in the order of `a`, first occurrences."""
    shared = (a.content & b.content) | (a.shades.actions & b.shades.actions)
    stems = [stem if (stem := _stem(word)) in a.content else ACTIONS.get(word, "") for word in a.words]
    return list(dict.fromkeys(stem for stem in stems if stem in shared))


def _strays(a: _Facts, b: _Facts) -> int:
    """Content words of `a` that `b` has in no related form."""
    return sum(not any(_are_related(stem, other) for other in b.content) for stem in a.content - b.content)


def _are_related(a: str, b: str) -> bool:
    """ "install" and "installation": one begins with the other, which is not short."""
    short, long = sorted((a, b), key=len)
    return len(short) >= 4 and long.startswith(short) and not _is_other_party(short, long)


def _is_other_party(short: str, long: str) -> bool:
    """ "interviewee" and "interviewer", their last "e" cut."""
    return short.endswith("e") and long == f"{short}r"


def _stem(word: str) -> str:
    """Strips what inflection adds; crude, and the same on both sides. Words that mean the same get one stem."""
    word = SYNONYMS.get(word, word).removesuffix("'s")
    if not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif re.search(r"(?:ss|sh|ch|x|z)es$", word):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for suffix in ("ing", "ed", "ly"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word.removesuffix(suffix)
            break
    word = word.removesuffix("e") if len(word) > 3 else word
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls" else word  # "running", "run"


def _stem_rivals() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for word, rivals in RIVALS.items():
        table.setdefault(_stem(word), set()).update(map(_stem, rivals))
    return {stem: frozenset(rivals - {stem}) for stem, rivals in table.items()}


_STEM_RIVALS: Final = _stem_rivals()
