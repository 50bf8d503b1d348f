"""Generates gen/ from protos/: `generate.py` writes it, `generate.py --check` fails when it differs.

Run with .venv/bin/python. The compiler is the pinned grpcio-tools, so equal contracts give equal bytes everywhere.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
GENERATED = ROOT / "gen" / "rag"
PACKAGE_NOTE = '"""Generated from protos/ by `make gen`; never edited."""\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when gen/ is not what protos/ give")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "rag"
        if check:
            return report(differences(fresh, GENERATED))
        shutil.rmtree(GENERATED, ignore_errors=True)
        shutil.copytree(fresh, GENERATED)
    print(f"gen/: {sum(1 for _ in GENERATED.rglob('*_pb2.py'))} contracts generated")
    return 0


def generate(target: Path) -> None:
    # mypy-protobuf's plugins are found on PATH, beside the interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    files = sorted(str(file.relative_to(PROTOS)) for file in PROTOS.rglob("*.proto"))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    # quiet: a line per file otherwise.
    outputs += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    # The contracts with their comments: the gateway's OpenAPI document quotes them.
    (target / "rag").mkdir(exist_ok=True)
    outputs += [f"--descriptor_set_out={target / 'rag' / 'descriptors.binpb'}", "--include_source_info"]
    includes = [f"-I{PROTOS}", f"-I{ROOT / 'third_party'}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    if protoc.main(["protoc", *includes, *outputs, *files]) != 0:
        sys.exit(1)
    for folder in [target / "rag", *(item for item in (target / "rag").rglob("*") if item.is_dir())]:
        (folder / "__init__.py").write_text(PACKAGE_NOTE)
        if folder.name == "rag":
            (folder / "py.typed").touch()


def differences(fresh: Path, committed: Path) -> list[str]:
    names = {file.relative_to(top) for top in (fresh, committed) for file in top.rglob("*") if is_generated(file)}
    return sorted(str(name) for name in names if not is_same(fresh / name, committed / name))


def is_generated(file: Path) -> bool:
    return file.suffix in {".py", ".pyi", ".typed", ".binpb"}


def is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def report(changed: list[str]) -> int:
    for name in changed:
        print(f"gen/rag/{name} is not what protos/ give: run `make gen` and commit the result")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
