"""Checks of single fields, and the list of everything that is wrong with one request."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chassis.errors import FieldViolation, FilterInvalid, InvalidRequest

COLLECTION: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
MAX_QUERY_CHARS: Final = 4_096  # retriever.proto, as are the next ones of their messages
MAX_TOP_K: Final = 100
MAX_DOCUMENT_ID_CHARS: Final = 512
DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1_000


class Violations:
    """Collects every bad field of a request, so that its caller corrects it once and not field by field."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []
        self._is_filter_only = True

    def add(self, field: str, description: str) -> None:
        self._found.append(FieldViolation(field, description))
        self._is_filter_only = False

    def add_filter(self, field: str, description: str) -> None:
        """One inside a filter: alone, these make FILTER_INVALID."""
        self._found.append(FieldViolation(field, description))

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Take over the violations of an InvalidRequest raised in the block."""
        try:
            yield
        except InvalidRequest as exc:
            self._is_filter_only = False
            self._found.extend(exc.violations)

    def check(self) -> None:
        """Raise InvalidRequest, or FilterInvalid, with all of them; nothing when there are none."""
        if not self._found:
            return
        kind = FilterInvalid if self._is_filter_only else InvalidRequest
        first = self._found[0]
        more = f" (and {len(self._found) - 1} more)" if len(self._found) > 1 else ""
        raise kind(f"{first.field}: {first.description}{more}", self._found)


def collection(name: str, found: Violations) -> str:
    if COLLECTION.fullmatch(name) is None:
        found.add("collection", "must be 1 to 64 characters of a-z, 0-9, '_' and '-', a letter or digit first")
    return name


def document_id(value: str, found: Violations, field: str = "document_id") -> str:
    if not 1 <= len(value) <= MAX_DOCUMENT_ID_CHARS:
        found.add(field, f"must have 1 to {MAX_DOCUMENT_ID_CHARS} characters, not {len(value)}")
    elif has_control_characters(value):
        found.add(field, "must not hold control characters")
    return value


def length(value: str, most: int, field: str, found: Violations) -> str:
    if len(value) > most:
        found.add(field, f"must have at most {most} characters, not {len(value)}")
    return value


def page_size(value: int, found: Violations) -> int:
    if value < 0:
        found.add("page_size", "must not be negative; 0 takes the default")
    return min(value, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def has_control_characters(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)
