"""Chromium, from the system's own packages: Playwright drives it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from askmesh.rig.part import Part

NAMES = ("chromium", "chromium-browser", "google-chrome")
APT_TIMEOUT_S = 600  # a browser and its libraries are 300 MB


def find() -> Path | None:
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)


def install() -> None:
    if shutil.which("apt-get") is None:
        raise FileNotFoundError("no apt-get here: install Chromium in this system's way")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        line = [*prefix, "apt-get", "-qq", *command]
        subprocess.run(line, env=env, stdout=subprocess.DEVNULL, timeout=APT_TIMEOUT_S, check=True)


PART = Part("chromium", "system", "tests/web", find, install)
