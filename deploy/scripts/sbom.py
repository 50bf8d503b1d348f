"""Writes the CycloneDX 1.5 list of what is in an image: `sbom.py ROOT NAME VERSION > NAME.cdx.json`.

ROOT is the image's unpacked file system. What is installed is read where it is installed: Python's packages from their
METADATA, Debian's from var/lib/dpkg/status.d; licences that neither states are in deploy/images/licences.toml. Standard
library only.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

UNKNOWN = "NOASSERTION"
KNOWN: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).parents[1] / "images" / "licences.toml").read_text(encoding="utf-8")
)
MODEL_LICENCE = "Apache-2.0"  # sentence-transformers/all-MiniLM-L6-v2, as its publisher states
# What packages write into License and their classifiers where they give no SPDX expression.
SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    root, name, version = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(json.dumps(bill(root, name, version), indent=1, sort_keys=True))
    return 0


def bill(root: Path, name: str, version: str) -> dict[str, Any]:
    """The whole document; equal roots give equal documents, so it holds neither a time nor a serial number."""
    found = [*python_packages(root), *debian_packages(root), *models(root)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": sorted(found, key=lambda each: (str(each["purl"]), str(each["name"]))),
    }


def python_packages(root: Path) -> Iterator[dict[str, Any]]:
    for folder in root.glob("opt/askmesh/lib/python3*/site-packages"):
        for found in distributions(path=[str(folder)]):
            name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
            purl = f"pkg:pypi/{name}@{found.version}"
            yield component("library", name, found.version, purl=purl, licence=python_licence(name, found))


def python_licence(name: str, found: Distribution) -> str:
    """An SPDX expression: ours, else from the field made for it, else from what older packages write."""
    if name in KNOWN["python"]:
        return KNOWN["python"][name]
    fields: Message = Parser().parsestr(found.read_text("METADATA") or "")
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [
        line.rsplit(" :: ", 1)[-1] for line in fields.get_all("Classifier", []) if line.startswith("License")
    ]
    for text in (*classifiers, fields.get("License") or ""):
        if known := SPDX.get(text.strip().splitlines()[0].lower() if text.strip() else ""):
            return known
    return UNKNOWN


def debian_packages(root: Path) -> Iterator[dict[str, Any]]:
    for file in (root / "var/lib/dpkg/status.d").glob("*"):
        fields = Parser().parsestr(file.read_text())
        name, version = str(fields["Package"]), str(fields["Version"])
        purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"
        yield component("library", name, version, purl=purl, licence=KNOWN["debian"].get(name, UNKNOWN))


def models(root: Path) -> Iterator[dict[str, Any]]:
    for manifest in root.glob("opt/askmesh/share/askmesh/models/*/manifest.json"):
        made = component("machine-learning-model", manifest.parent.name, "1", purl="", licence=MODEL_LICENCE)
        sums: dict[str, str] = json.loads(manifest.read_text())
        made["hashes"] = [{"alg": "SHA-256", "content": sums["model.onnx"]}]
        yield made


def component(kind: str, name: str, version: str, *, purl: str, licence: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "version": version, "purl": purl, "licenses": [{"expression": licence}]}


if __name__ == "__main__":
    sys.exit(main())
