"""Puts REGISTRY and TAG, or digests, into an overlay: python deploy/scripts/render.py OVERLAY [--digests FILE]

Writes deploy/rendered/<overlay>/kustomization.yaml, which git ignores, for `kubectl apply -k`. The committed overlays
name images that no registry has; this is how yours come in (REGISTRY and TAG from the environment).

FILE has a line per image, "askmesh-gateway sha256:...": with it images are pinned by what they are and not by a tag.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[1]
IMAGES = ("gateway", "orchestrator", "retriever", "ingest")
PLACEHOLDER = "registry.invalid"
HEAD = """# Made by deploy/scripts/render.py; not committed.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../overlays/{overlay}
images:
"""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Puts your images into an overlay.")
    parser.add_argument("overlay", choices=sorted(path.name for path in (DEPLOY / "overlays").iterdir()))
    parser.add_argument("--digests", type=Path, help='lines of "askmesh-gateway sha256:..."')
    given = parser.parse_args()
    registry, tag = os.environ.get("REGISTRY", ""), os.environ.get("TAG", "")
    if not registry or not (tag or given.digests):
        parser.error("REGISTRY and TAG (or --digests) say where the images are: set them in .env")
    digests = read_digests(given.digests) if given.digests else {}
    folder = DEPLOY / "rendered" / given.overlay
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(rendered(given.overlay, registry, tag, digests))
    print(folder)
    return 0


def rendered(overlay: str, registry: str, tag: str, digests: Mapping[str, str]) -> str:
    """The kustomization's text. An image without a digest gets the tag."""
    lines = [HEAD.format(overlay=overlay)]
    for image in (f"askmesh-{name}" for name in IMAGES):
        pinned = f"digest: {digests[image]}" if image in digests else f'newTag: "{tag}"'
        lines.append(f"  - name: {PLACEHOLDER}/{image}\n    newName: {registry}/{image}\n    {pinned}\n")
    return "".join(lines)


def read_digests(path: Path) -> dict[str, str]:
    """Image -> digest."""
    found = dict(line.split() for line in path.read_text("utf-8").splitlines() if line.strip())
    wrong = [image for image, digest in found.items() if not _DIGEST.fullmatch(digest)]
    if wrong:
        raise SystemExit(f"{path}: not a sha256 digest: {', '.join(wrong)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
