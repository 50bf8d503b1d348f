#!/usr/bin/env python3
"""Stands in for gcloud, kind, docker, kubectl and istioctl: records how it is called and answers like the real one.

It is linked under each of their names. STANDIN_FOLDER holds calls.jsonl, one call a line (argv, standard input), and
state.json, what exists because an earlier call created it: `describe` fails until then, as in the real world.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["STANDIN_FOLDER"])
NAME = Path(sys.argv[0]).name
ARGUMENTS = sys.argv[1:]


def main() -> int:
    reads_stdin = "-" in ARGUMENTS
    given = sys.stdin.read() if reads_stdin else ""
    with (FOLDER / "calls.jsonl").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps({"argv": [NAME, *ARGUMENTS], "stdin": given}) + "\n")
    state_file = FOLDER / "state.json"
    state: dict[str, Any] = json.loads(state_file.read_text()) if state_file.exists() else {}
    code, said = {"gcloud": gcloud, "kind": kind, "docker": docker, "kubectl": kubectl, "istioctl": istioctl}[NAME](
        state, given
    )
    state_file.write_text(json.dumps(state))
    if said:
        sys.stdout.write(f"{said}\n")
    return code


def gcloud(state: dict[str, Any], given: str) -> tuple[int, str]:
    del given
    words = [word for word in ARGUMENTS if word != "--quiet"]
    if words[0] == "--project":
        words = words[2:]
    if words[:2] == ["auth", "list"]:
        return 0, state.get("account", "me@example.com")
    if words[:2] == ["projects", "describe"]:
        return 0, words[2]
    for verb in ("describe", "create", "create-auto", "delete"):
        if verb in words:
            at = words.index(verb)
            thing = " ".join([*words[:at], words[at + 1]])
            return changed(state, thing, verb.removesuffix("-auto"))
    return 0, ""


def changed(state: dict[str, Any], thing: str, verb: str) -> tuple[int, str]:
    """The exit codes of the real ones: describing or deleting what is not there fails, and so does creating twice."""
    exists = state.get(thing, False)
    if verb == "create":
        state[thing] = True
        return int(exists), ""
    if verb == "delete":
        state[thing] = False
    return int(not exists), ""


def kind(state: dict[str, Any], given: str) -> tuple[int, str]:
    del given
    if ARGUMENTS[:1] == ["version"]:
        return 0, "kind v0.33.0 go1.26.1 linux/amd64"
    if ARGUMENTS[:2] == ["get", "clusters"]:
        return 0, "\n".join(name for name, exists in state.items() if exists)
    if ARGUMENTS[:2] in (["create", "cluster"], ["delete", "cluster"]):
        name = ARGUMENTS[ARGUMENTS.index("--name") + 1]
        return changed(state, name, ARGUMENTS[0])
    return 0, ""


def docker(state: dict[str, Any], given: str) -> tuple[int, str]:
    del given
    return (1, "") if ARGUMENTS == ["info"] and state.get("docker is down") else (0, "")


def kubectl(state: dict[str, Any], given: str) -> tuple[int, str]:
    if ARGUMENTS[:2] == ["version", "--client"]:
        return 0, '{\n  "clientVersion": {\n    "gitVersion": "v1.35.4"\n  }\n}'
    if ARGUMENTS[0] == "kustomize":
        return 0, OVERLAY.format(registry=os.environ["REGISTRY"], tag=os.environ["TAG"])
    if "port-forward" in ARGUMENTS:
        return forwarded(int(ARGUMENTS[-1].split(":")[0]))
    if ARGUMENTS[2:5] == ["get", "secret", "askmesh-tokens"]:
        return 0, base64.b64encode(f"key of {ARGUMENTS[-1].split('.')[-1].rstrip('}')}".encode()).decode()
    if ARGUMENTS[:2] == ["get", "--raw"]:
        return int(bool(state.get("no cluster"))), "ok"
    if ARGUMENTS[0] == "-n" and ARGUMENTS[2:4] == ["get", "secrets"]:
        return 0, "\n".join(state.get(f"secrets of {ARGUMENTS[1]}", []))
    if ARGUMENTS[0] == "apply" and given.startswith("{"):
        made = json.loads(given)
        if made["kind"] == "Secret":
            state.setdefault(f"secrets of {made['metadata']['namespace']}", []).append(
                f"secret/{made['metadata']['name']}"
            )
    return 0, ""


def forwarded(port: int) -> tuple[int, str]:
    """Open until somebody has looked."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(20)
        listener.accept()
    return 0, ""


def istioctl(state: dict[str, Any], given: str) -> tuple[int, str]:
    del state, given
    return (0, "client version: 1.31.4") if ARGUMENTS[0] == "version" else (0, "")


# What it makes of the rendered overlay; that the real one does is test_every_image_of_a_real_overlay_is_rendered's.
OVERLAY = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: retriever, namespace: rag}}
spec: {{template: {{spec: {{containers: [{{name: retriever, image: '{registry}/askmesh-retriever:{tag}'}}]}}}}}}
"""


if __name__ == "__main__":
    sys.exit(main())
