"""Bars that depend on the machine, and the figures behind them.

`make faults` measures on a machine that does nothing else, and holds to what is promised. `make test` runs beside other
work: there a bar is wide, and only catches what does not work at all.
"""

from __future__ import annotations

import pytest

from tests.faults.processes import IS_CAMPAIGN


def bar(promised: float, *, wide: float) -> float:
    """The promise in `make faults`, else a bar that a busy machine meets too."""
    return promised if IS_CAMPAIGN else wide


def figures_of(reports: list[pytest.TestReport]) -> list[str]:
    """What tests recorded with `record_property`, a line each."""
    return [
        f"{report.nodeid.partition('::')[2]}: {name} {value}"
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
    ]
