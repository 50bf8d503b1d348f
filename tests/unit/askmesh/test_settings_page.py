"""docs/reference/settings.md says what the code reads."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "deploy/scripts/settings_page.py"


def test_every_setting_is_described_as_the_code_has_it():
    made = runpy.run_path(str(SCRIPT))
    assert made["PAGE"].read_text() == made["page"](), "run deploy/scripts/settings_page.py"
