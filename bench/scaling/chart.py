"""A run of the simulation as an SVG file: the rate, the pods, and the share of asks that were not answered in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.scaling.simulate import Moment

WIDTH, PANEL, LEFT, GAP = 720, 130, 56, 34  # px; three panels above each other


def svg(title: str, moments: Sequence[Moment]) -> str:
    """The whole file; equal runs give equal bytes."""
    rows: list[tuple[str, Callable[[Moment], float], Callable[[Moment], float] | None]] = [
        ("asks per second", lambda each: each.rps, None),
        ("replicas (thin: ready)", lambda each: each.replicas, lambda each: each.ready),
        ("not answered in full, %", lambda each: (each.degraded + each.refused) * 100, None),
    ]
    height = GAP * 2 + len(rows) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{title}</text>',
    ]
    for number, (name, thick, thin) in enumerate(rows):
        parts += _panel(name, moments, GAP + 10 + number * (PANEL + GAP), (thick, thin))
    parts.append(f'<text x="{LEFT}" y="{height - 12}">minutes: 0 to {moments[-1].at_s / 60:.0f}</text></svg>\n')
    return "\n".join(parts)


def _panel(
    name: str,
    moments: Sequence[Moment],
    top: int,
    lines: tuple[Callable[[Moment], float], Callable[[Moment], float] | None],
) -> list[str]:
    highest = max(1.0, *(lines[0](each) for each in moments))
    bottom = top + PANEL
    parts = [
        f'<text x="{LEFT}" y="{top - 6}">{name}</text>',
        f'<text x="{LEFT - 8}" y="{top + 10}" text-anchor="end">{highest:.0f}</text>',
        f'<text x="{LEFT - 8}" y="{bottom}" text-anchor="end">0</text>',
        f'<path d="M{LEFT} {top}V{bottom}H{WIDTH - 12}" fill="none" stroke="#888"/>',
    ]
    for value, width in zip(lines, (2.0, 1.0), strict=True):
        if value is not None:
            points = " ".join(_point(each, value(each) / highest, moments[-1].at_s, bottom) for each in moments[::5])
            parts.append(f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="{width}"/>')
    return parts


def _point(each: Moment, share: float, end_s: float, bottom: int) -> str:
    return f"{LEFT + (WIDTH - LEFT - 12) * each.at_s / end_s:.1f},{bottom - share * PANEL:.1f}"
