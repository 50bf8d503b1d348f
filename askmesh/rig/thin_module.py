"""Programs of Go modules that cannot be installed by name, built from a thin module of ours.

`go install` refuses a module whose go.mod has replace lines. A thin module requires it and repeats those lines:
files/<name>/go.mod, with every version, and go.sum, with every checksum. Nothing is resolved at build time. To move to
another version: change it in go.mod, then `go get <the packages>` and `go mod tidy` there, with a tools.go that imports
them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from askmesh.rig.part import Part, folder_part, go

FILES = Path(__file__).parent / "files"
LINKER = "-s -w"  # no symbol table, no debug information: a third of the size


def thin_module(
    name: str, version: str, *, packages: Sequence[str], used_by: str, module: str = "", tags: str = ""
) -> Part:
    """A part with one program per package, named as its last path element.

    Args:
        module: The folder below files/, when its name is not the part's: one module may give several parts.
        tags: Build tags, by commas.
    """

    def make(folder: Path) -> None:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
        command = [go(), "build", "-trimpath", "-ldflags", LINKER, "-tags", tags, "-o", f"{folder}/", *packages]
        subprocess.run(command, cwd=FILES / (module or name), env=environment, check=True)

    proof = packages[-1].rpartition("/")[2]
    return folder_part(name, version, used_by=used_by, proof=proof, make=make, is_compiled=True)
