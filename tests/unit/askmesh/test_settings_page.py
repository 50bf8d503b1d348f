"""docs/reference/settings.md says what the code reads."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy/scripts/settings_page.py"


def test_every_setting_is_described_as_the_code_has_it():
    made = runpy.run_path(str(SCRIPT))
    assert made["PAGE"].read_text() == made["page"](), "run deploy/scripts/settings_page.py"


def test_every_setting_the_docs_name_exists():
    page = runpy.run_path(str(SCRIPT))["page"]()
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for path in pages for name in re.findall(r"ASKMESH_[A-Z_]*[A-Z]\b(?!_)", path.read_text())}
    assert "ASKMESH_AUTH" in named
    assert {name for name in named if f"| {name} |" not in page} == set()
