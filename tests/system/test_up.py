"""What a newcomer sees."""

from __future__ import annotations

import os
import subprocess
import sys

from askmesh import Client
from askmesh.documents import DocumentFile
from bench.installation import start, stop

ON_FREE_PORTS = ("--http-port", "0", "--grpc-port", "0")


def up_once(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "askmesh", "up", "--once", *ON_FREE_PORTS, "--data", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


def test_up_once_prints_a_cited_answer_about_the_project_and_exits(tmp_path):
    ended = up_once(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "cancelled answers are never cached. [1]" in ended.stdout
    assert "caching.md" in ended.stdout
    assert "Degraded:" not in ended.stdout


def test_up_a_second_time_finds_everything_unchanged(tmp_path):
    assert up_once(tmp_path).returncode == 0
    again = up_once(tmp_path)
    assert again.returncode == 0
    assert "were new or changed" not in again.stderr


def test_the_demo_neither_replaces_a_user_s_documents_nor_comes_back(tmp_path):
    assert up_once(tmp_path).returncode == 0
    mine = "# Security of our house\n\nThe alarm code is changed in May."
    served = start(tmp_path, "--no-demo")
    try:
        with Client(served.grpc) as client:
            assert [each.outcome for each in client.ingest([DocumentFile("security.md", mine)])] == ["STORED"]
            client.delete("scaling.md")
    finally:
        assert stop(served) == 0
    again = up_once(tmp_path)
    assert again.returncode == 0
    assert "cancelled answers are never cached. [1]" in again.stdout
    served = start(tmp_path, "--no-demo")
    try:
        with Client(served.grpc) as client:
            names = {each.document_id for each in client.documents()}
            text = client.document("security.md", with_text=True).text
    finally:
        assert stop(served) == 0
    assert "scaling.md" not in names
    assert {"caching.md", "security.md"} <= names
    assert text == mine


def test_the_demo_stays_out_of_a_collection_without_it(tmp_path):
    served = start(tmp_path, "--no-demo")
    try:
        with Client(served.grpc) as client:
            list(client.ingest([DocumentFile("caching.md", "# Caches\n\nOurs are buried in the woods.")]))
    finally:
        assert stop(served) == 0
    ended = up_once(tmp_path)
    assert ended.returncode == 0
    assert "left out" in ended.stderr
    assert "never cached" not in ended.stdout
    asked = up_once(tmp_path, "--question", "Where are our caches buried?")
    assert "buried in the woods. [1]" in asked.stdout


def test_a_second_process_on_the_same_data_folder_says_so_and_changes_nothing(tmp_path):
    first = start(tmp_path, "--no-demo")
    try:
        second = up_once(tmp_path)
    finally:
        assert stop(first) == 0
    assert second.returncode == 3
    assert "DATA_FOLDER_LOCKED" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_says_so_and_names_the_cure(tmp_path):
    first = start(tmp_path / "first", "--no-demo")
    try:
        port = first.grpc.rpartition(":")[2]
        second = subprocess.run(
            [
                sys.executable,
                "-m",
                "askmesh",
                "up",
                "--once",
                *ON_FREE_PORTS,
                "--grpc-port",
                port,
                "--data",
                str(tmp_path),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        assert stop(first) == 0
    assert second.returncode == 3
    assert "PORT_IN_USE" in second.stderr
    assert "Traceback" not in second.stderr


def test_every_wrong_setting_is_named_in_one_error_without_its_value(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "askmesh", "up", "--once", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ASKMESH_LOCAL_HTTP_PORT": "secret-value", "ASKMESH_LOCAL_GRPC_PROT": "1"},
        check=False,
    )
    assert ended.returncode == 3
    assert "ASKMESH_LOCAL_HTTP_PORT" in ended.stderr
    assert "did you mean ASKMESH_LOCAL_GRPC_PORT" in ended.stderr
    assert "secret-value" not in ended.stderr
