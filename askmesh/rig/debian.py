"""Programs from Debian's packages, unpacked into the cache: nothing is installed, and no service of the package starts.

apt checks a package against its signed index; which version that is depends on the system, so the part's is "debian".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from askmesh.rig.part import Part, folder_part

VERSION = "debian"
APT_TIMEOUT_S = 300


def debian_part(package: str, *, programs: Sequence[str], used_by: str, name: str = "") -> Part:
    """Some programs of a package, which must need no more than the C library.

    Args:
        programs: Found in usr/bin of the package; the part's folder holds them.
        name: Of the part; the package's own when empty.
    """

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _download(package, Path(scratch))
            [file] = Path(scratch).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", str(file), f"{scratch}/unpacked"], check=True)
            for program in programs:
                shutil.copy(Path(scratch, "unpacked", "usr", "bin", program), folder / program)

    return folder_part(name or package, VERSION, used_by=used_by, proof=programs[-1], make=make)


def _download(package: str, folder: Path) -> None:
    """From the lists as they are, or after an update: a new machine has none, an old one's name versions long gone."""
    if shutil.which("apt-get") is None:
        raise FileNotFoundError(f"no apt-get here: {package} comes from Debian's packages")
    download = ["apt-get", "-qq", "download", package]
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": APT_TIMEOUT_S}
    if subprocess.run(download, check=False, **quiet).returncode != 0:  # type: ignore[call-overload]  # a dict of options
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*prefix, "apt-get", "-qq", "update"], check=True, timeout=APT_TIMEOUT_S)
        subprocess.run(download, cwd=folder, check=True, timeout=APT_TIMEOUT_S)
