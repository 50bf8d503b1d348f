"""The load test against a real installation: its figures are real, and so is its exit code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def load(installation, *arguments):
    command = [
        sys.executable,
        "-m",
        "bench.load",
        "--target",
        installation.grpc,
        "--minute-s",
        "2",
        "--scale",
        "0.4",
        "--seed",
        "1",
    ]
    done = subprocess.run(
        [*command, "-o", "json", *arguments], capture_output=True, text=True, timeout=110, check=False
    )
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout or "[]")}, done.stderr


def test_a_load_is_judged_by_what_was_asked_and_answered(installation):
    # What is tested is the load test, not a loaded machine: an ask may miss its timebox here.
    code, checks, said = load(installation, "--p95-s", "60", "--first-token-p95-s", "60")

    assert checks["failed"]["samples"] > 10, said
    assert checks["new questions from a cache"]["found"] == 0.0
    assert checks["repeated ones from the cache"]["samples"] > 0
    assert code == (0 if all(check["is_met"] for check in checks.values()) else 1)


def test_an_objective_that_is_missed_ends_with_1(installation):
    code, checks, _ = load(installation, "--p95-s", "0.000001")

    assert code == 1
    assert not checks["answer p95, s"]["is_met"]


def test_where_nobody_listens_it_says_so(tmp_path):
    command = [sys.executable, "-m", "bench.load", "--target", f"unix:{tmp_path}/nobody", "--minute-s", "0.1"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "UNAVAILABLE" in done.stderr


pytestmark = pytest.mark.timeout(120)
