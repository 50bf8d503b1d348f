"""What builds and boots container images where there is no engine: buildah, bubblewrap and a Debian to build in.

buildah runs deploy/images/Containerfile as it is, each step in a chroot; bubblewrap boots what comes out. The Debian is
only the stage that downloads and unpacks (DEBIAN_IMAGE): mmdebstrap makes it, as no registry is asked for an image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from askmesh.rig.part import Part, cache

SUITE = "bookworm"
PROGRAMS = {"buildah": "buildah", "bwrap": "bubblewrap", "mmdebstrap": "mmdebstrap"}
DEBIAN = f"debian-{SUITE}.tar"
APT_TIMEOUT_S = 600


def folder() -> Path:
    return cache() / f"images-{SUITE}"


def find() -> Path | None:
    is_here = all(map(shutil.which, PROGRAMS)) and (folder() / DEBIAN).exists()
    return folder() if is_here else None


def install() -> None:
    if shutil.which("apt-get") is None:
        raise FileNotFoundError("no apt-get here: building images without an engine needs a Debian system")
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            line = [*prefix, "apt-get", "-qq", *command]
            subprocess.run(line, env=env, stdout=subprocess.DEVNULL, timeout=APT_TIMEOUT_S, check=True)
    folder().mkdir(parents=True, exist_ok=True)
    draft = folder() / f".{DEBIAN}"
    command = ["mmdebstrap", "--variant=apt", "--quiet", "--format=tar", SUITE, str(draft)]
    subprocess.run(command, timeout=APT_TIMEOUT_S, check=True)
    draft.rename(folder() / DEBIAN)  # there whole or not at all


PART = Part("images", SUITE, "tests/deploy", find, install)
