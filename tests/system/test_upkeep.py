"""`askmesh collections verify, reindex, rollback, cancel, migrate` against a real installation."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from bench.installation import start, stop, wait_for


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """An installation of its own, and its store's file, to damage."""
    folder = tmp_path_factory.mktemp("data")
    made = start(folder)
    wait_for(made, "Ctrl-C")
    [file] = folder.rglob("askmesh.sqlite3")
    yield made, file
    assert stop(made) == 0, "\n".join(made.lines)


def cli(installation, *arguments):
    command = [sys.executable, "-m", "askmesh", "collections", *arguments, "--target", installation.grpc]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def as_json(ended):
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_sound_collection_ends_with_zero_and_a_table(installation):
    ended = cli(installation, "verify", "docs")
    assert (ended.returncode, "docs" in ended.stdout, "none" in ended.stdout) == (0, True, True)


def test_all_collections_and_the_stores_are_verified_at_once(installation):
    shown = as_json(cli(installation, "verify", "--all", "-o", "json"))
    assert "docs" in [each["collection"] for each in shown["collections"]]
    assert shown["stores"]["findings"] == []


def test_what_is_missing_is_told_by_the_exit_code_and_comes_back_with_repair(damaged):
    installation, file = damaged
    with closing(sqlite3.connect(file, timeout=30)) as store, store:
        lost = store.execute("DELETE FROM dense_rows WHERE row IN (SELECT row FROM dense_rows LIMIT 5)").rowcount
    assert lost == 5

    ended = cli(installation, "verify", "docs", "-o", "json")

    assert ended.returncode == 10
    [report] = json.loads(ended.stdout)["collections"]
    assert {each["kind"] for each in report["findings"]} == {"UPKEEP_FINDING_KIND_CHUNKS_MISSING"}
    assert sum(int(each["count"]) for each in report["findings"]) == 5
    assert "chunks missing" in cli(installation, "verify", "docs").stdout
    [repaired] = as_json(cli(installation, "verify", "docs", "--repair", "-o", "json"))["collections"]
    assert repaired["repairedCount"] == repaired["findingCount"] != "0"
    [after] = as_json(cli(installation, "verify", "docs", "-o", "json"))["collections"]
    assert (after["findingCount"], after["denseChunkCount"]) == ("0", after["chunkCount"])


def test_a_reindex_and_a_rollback_from_the_command_line(damaged):
    installation, _ = damaged
    rebuilt = as_json(cli(installation, "reindex", "docs", "--embedder", "none", "--keep", "2h", "-o", "json"))
    assert (rebuilt["embedderFingerprint"], int(rebuilt["documentCount"]) > 5) == ("", True)
    ended = cli(installation, "rollback", "docs")
    assert ended.returncode == 0, ended.stderr
    assert "docs rolled back" in ended.stdout
    again = cli(installation, "rollback", "docs")
    assert (again.returncode, "ROLLBACK_UNAVAILABLE" in again.stderr) == (3, True)
    assert cli(installation, "verify", "docs").returncode == 0


def test_nothing_to_cancel_and_nothing_to_migrate_is_said(installation):
    assert "no unfinished reindex" in cli(installation, "cancel", "docs").stdout
    assert as_json(cli(installation, "migrate", "-o", "json"))["migratedCount"] == "0"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("verify",), 2),
        (("verify", "docs", "--all"), 2),
        (("verify", "absent"), 4),
        (("reindex", "docs", "--keep", "x"), 3),
    ],
)
def test_what_makes_no_sense_is_refused(installation, arguments, code):
    assert cli(installation, *arguments).returncode == code
