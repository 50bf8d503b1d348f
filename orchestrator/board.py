"""What replicas tell each other of an answer that one of them makes: the words of the FlightBoard port."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chassis.errors import BackendUnavailable


class BoardUnavailable(BackendUnavailable):
    """The replicas' board does not answer. Leaves no service: whoever meets it makes the answer itself."""


class Over(StrEnum):
    """What has become of a flight."""

    NOT = ""  # it goes on
    WHOLE = "whole"  # ended well: who comes a moment late may have it too
    ENDED = "ended"  # ended in any other way: only those who listen already get its end


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a holder tells next, and its number from 0."""

    number: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """Chunks in order, and whether the holder still holds the flight. `is_broken`: one was not told by it."""

    chunks: tuple[bytes, ...] = ()
    is_held: bool = False
    is_broken: bool = False
