"""Thresholds: what the figures are held against, from thresholds.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("thresholds.toml")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure beside its bound; a figure that was not measured is a miss."""

    name: str
    value: float | None
    bound: float
    is_minimum: bool

    @property
    def is_met(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bound if self.is_minimum else self.value <= self.bound

    def __str__(self) -> str:
        measured = "not measured" if self.value is None else f"{self.value:.4f}"
        sign = ">=" if self.is_minimum else "<="
        return f"{'ok  ' if self.is_met else 'MISS'} {self.name} {measured} {sign} {self.bound:g}"


def verdicts(part: str, figures: Mapping[str, float], file: Path = FILE) -> list[Verdict]:
    """Every threshold of a part ("retrieval", "chunking", ...) with its figure."""
    section: dict[str, dict[str, float]] = tomllib.loads(file.read_text()).get(part, {})
    return list(_verdicts(section, figures))


def _verdicts(section: Mapping[str, Mapping[str, float]], figures: Mapping[str, float]) -> Iterator[Verdict]:
    for name, bounds in section.items():
        for side, bound in bounds.items():
            if side not in {"min", "max"}:
                raise ValueError(f"thresholds.toml: {name} has {side!r}; only min and max are known")
            yield Verdict(name, figures.get(name), bound, side == "min")
