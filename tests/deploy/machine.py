"""A machine with stand-ins for the tools that the deployment's scripts call."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "deploy" / "scripts"
TOOLS = ("gcloud", "kind", "docker", "kubectl", "istioctl")
REGISTRY = "europe-west4-docker.pkg.dev/my-project/askmesh"
SECRET = "hf_a-secret-that-no-process-list-may-show"
ENVIRONMENT = {
    "GCP_PROJECT": "my-project",
    "GKE_REGION": "europe-west4",
    "CLUSTER_NAME": "mesh",
    "REGISTRY": REGISTRY,
    "TAG": "v7",
    "GPU_MACHINE_TYPE": "g2-standard-4",
    "GPU_ACCELERATOR": "nvidia-l4",
    "GPU_MIN_NODES": "0",
    "GPU_MAX_NODES": "3",
    "HF_TOKEN": SECRET,
    "PYTHON": sys.executable,
}
VERSIONS = dict(re.findall(r"^([A-Z_]+)=(.+)$", (ROOT / "deploy/versions.env").read_text(), re.MULTILINE))


class Machine:
    """A PATH with stand-ins on it, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (*TOOLS, "gke-gcloud-auth-plugin"):
            self.link(tool)

    def link(self, tool: str) -> None:
        code = Path(__file__).with_name("standin.py").read_text()
        # Isolated and without site-packages: it starts in a third of the time, and a script calls it dozens of times.
        (self.bin / tool).write_text(code.replace("/usr/bin/env python3", f"{sys.executable} -IS", 1))
        (self.bin / tool).chmod(0o755)

    def state(self, **facts: object) -> None:
        (self.folder / "state.json").write_text(
            json.dumps({name.replace("_", " "): is_so for name, is_so in facts.items()})
        )

    def run(self, script: str, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "STANDIN_FOLDER": str(self.folder),
            **{name: value for name, value in {**ENVIRONMENT, **changes}.items() if value is not None},
        }
        return subprocess.run(
            [str(SCRIPTS / script), *arguments],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip

    def records(self) -> list[dict[str, Any]]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def calls(self) -> list[str]:
        return [" ".join(record["argv"]) for record in self.records()]

    def made(self, *words: str) -> list[str]:
        """Calls with all these words, without those that only look."""
        return [call for call in self.calls() if all(word in call.split() for word in words)]
