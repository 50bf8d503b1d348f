"""Holds for every suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from askmesh.rig.catalogue import PARTS
from tests.bars import figures_of
from tests.rig_logs import sections_of, servers_among
from tests.rig_servers import (  # noqa: F401  # fixtures of every test
    kubernetes,
    redis_server,
    triton_server,
    weaviate_server,
)

# Shared machines stall for seconds: a property's time limit per example would fail by chance. Suites have pytest's.
settings.register_profile("askmesh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("askmesh")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """A developer's ASKMESH_* variables must not change what a test sees."""
    for name in [name for name in os.environ if name.startswith("ASKMESH_")]:
        if name != "ASKMESH_RIG":
            monkeypatch.delenv(name)


def pytest_report_header():
    """What the suites run against."""
    return [f"rig: {part.name} {part.version if part.find() else 'missing: make rig'}" for part in PARTS]


def pytest_terminal_summary(terminalreporter):
    """What was measured on the way, whether it passed or not."""
    stats = terminalreporter.stats
    figures = figures_of([*stats.get("passed", ()), *stats.get("failed", ())])
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what its servers said; what was measured is words, which a worker can hand on."""
    report = yield
    report.user_properties = [(name, str(value)) for name, value in report.user_properties]
    if report.failed:
        report.sections += sections_of(servers_among(getattr(item, "funcargs", {}).values()))
    return report
