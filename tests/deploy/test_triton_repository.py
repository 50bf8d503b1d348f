"""The repository for a GPU, as far as a machine without one can tell: its tensors are those the orchestrator sends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from askmesh.rig.part import ROOT
from askmesh.rig.reranker import RERANKING
from askmesh.rig.triton import STANDINS, running_triton
from chassis.channel import open_channel
from embedding.manifest import Graph, Precision, SourceFiles
from embedding.models import ensure_model
from retriever.reranking.pairs import PairTokenizer
from retriever.reranking.triton import ServedModel, TritonReranker
from tests.contract.generation.suite import text_of
from tests.contract.generation.test_triton import ANSWER, answered, generator_on
from tests.contract.reranking.suite import QUESTION, TEXTS, logits
from tests.deploy.documents import read
from tests.rig_servers import rigged

TRITON = ROOT / "deploy" / "triton"
MODEL = "tensorrt_llm"
HELPERS = """\
def get_sampling_params_from_request(request, batch_size=1, batch_index=0):
    return {"max_tokens": 8}
"""
MODEL_OF_THE_CONTAINER = """\
import json
import os
import sys
from pathlib import Path

from helpers import (get_sampling_params_from_request,
                     )

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from engine.model import StandIn


class TritonPythonModel(StandIn):
    contract = "llmapi"

    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(0)
        config.set_model_transaction_policy({"decoupled": True})
        return config

    def initialize(self, args):
        read = get_sampling_params_from_request(None)
        (Path(os.environ["WEIGHTS"]) / "read.json").write_text(json.dumps(read))
        super().initialize(args)
"""
_TENSOR = re.compile(r'name: "(\w+)" data_type: (\w+) dims: \[ (\S+) \]')


def tensors(repository: Path) -> list[tuple[str, ...]]:
    return _TENSOR.findall((repository / MODEL / "config.pbtxt").read_text())


def test_the_stand_in_has_the_real_models_tensors():
    assert tensors(STANDINS) == tensors(TRITON / "models") != []


async def test_triton_takes_the_real_configuration_and_the_orchestrators_requests_for_it(tmp_path):
    """Its code is the stand-in's; what the container's code takes from model.yaml at load is written out."""
    repository = tmp_path / "deploy" / "models"
    shutil.copytree(TRITON / "standin", tmp_path / "deploy", ignore=shutil.ignore_patterns("models"))
    shutil.copytree(TRITON / "models", repository)
    shutil.copy(STANDINS / MODEL / "1" / "model.py", repository / MODEL / "1")
    with (repository / MODEL / "config.pbtxt").open("a") as config:
        config.write(loaded_from((TRITON / "models" / MODEL / "1" / "model.yaml").read_text()))
    opened = partial(running_triton, tmp_path / "triton", repository=repository)
    async with rigged(opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        assert text_of(await answered(generator_on(channel, "trtllm"))) == ANSWER


async def test_the_start_script_puts_the_containers_model_beside_ours_and_tells_it_where_a_turn_ends(tmp_path):
    """In place of the container's code: two files with its names, its import, and the stand-in for its engine."""
    weights, code = tmp_path / "weights", tmp_path / "code"
    for folder in (weights, code, tmp_path / "empty", tmp_path / "run"):
        folder.mkdir()
    (weights / "generation_config.json").write_text('{"eos_token_id": [1, 106]}')
    (code / "helpers.py").write_text(HELPERS)
    (code / "model.py").write_text(MODEL_OF_THE_CONTAINER)
    shutil.copytree(TRITON / "standin" / "engine", tmp_path / "run" / "engine")
    environment = {"WEIGHTS": str(weights), "LLMAPI_MODEL": str(code), "TMPDIR": str(tmp_path / "run")}
    opened = partial(
        running_triton,
        tmp_path / "triton",
        repository=tmp_path / "empty",
        environment=environment,
        script=TRITON / "start.sh",
    )
    async with rigged(opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        assert text_of(await answered(generator_on(channel, "trtllm"))) == ANSWER
    assert json.loads((weights / "read.json").read_text()) == {"max_tokens": 8, "stop_token_ids": [1, 106]}
    (started,) = (tmp_path / "run").glob("tmp.*/tensorrt_llm/1/model.yaml")
    assert f"model: {weights} " in started.read_text()


def test_the_start_script_refuses_a_model_that_reads_requests_in_another_way(tmp_path):
    (tmp_path / "helpers.py").write_text("def get_params(request): ...\n")
    (tmp_path / "model.py").write_text("from helpers import get_params\n")
    environment = {**os.environ, "LLMAPI_MODEL": str(tmp_path)}
    started = subprocess.run(
        [TRITON / "start.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode == 1
    assert "end_of_turn.py" in started.stderr


def test_the_pod_has_every_file_that_the_start_script_uses_and_keeps_the_images_entry_point():
    (runtime,) = read(TRITON / "kserve" / "servingruntime.yaml")
    (container,) = runtime["spec"]["containers"]
    (component,) = read(TRITON / "kustomization.yaml")
    carried = [file for made in component["configMapGenerator"] for file in made["files"]]
    used = ["start.sh", *(str(file.relative_to(TRITON)) for file in (TRITON / "models").rglob("*.*") if file.is_file())]
    assert sorted(carried) == sorted(used)
    assert {each["mountPath"] for each in container["volumeMounts"]} >= {f"/askmesh/{file}" for file in used}
    assert "command" not in container
    assert container["args"] == ["sh", "/askmesh/start.sh"]


def loaded_from(yaml: str) -> str:
    section = yaml.partition("triton_config:")[2]
    batch = re.search(r"max_batch_size: (\d+)", section)
    decoupled = re.search(r"decoupled: (\w+)", section)
    assert batch
    assert decoupled
    return f"max_batch_size: {batch[1]}\nmodel_transaction_policy {{ decoupled: {decoupled[1]} }}\n"


def test_the_reranker_here_has_the_tensors_of_the_one_for_a_gpu():
    repositories = (RERANKING, TRITON / "reranking")
    here, there = (_TENSOR.findall((each / "reranker" / "config.pbtxt").read_text()) for each in repositories)
    assert here == there != []


async def test_triton_takes_the_rerankers_configuration_and_the_retrievers_requests_for_it(tmp_path):
    """The graph is not a cross-encoder's, and runs in a Python model: this Triton has no ONNX Runtime of its own."""
    repository = tmp_path / "models"
    shutil.copytree(RERANKING, repository)
    config = (TRITON / "reranking" / "reranker" / "config.pbtxt").read_text()
    # Warmed up by single pairs: a full batch of the longest takes a processor seconds.
    config = config.replace('"onnxruntime"', '"python"').replace("    batch_size: 32", "    batch_size: 1")
    (repository / "reranker" / "config.pbtxt").write_text(config)
    graph = (await ensure_model(Precision.FP32, Graph.LATE_INTERACTION)).graph
    environment = {"STANDIN_RERANKER": str(graph)}
    opened = partial(running_triton, tmp_path / "triton", repository=repository, environment=environment)
    async with rigged(opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        reranker = TritonReranker(channel, PairTokenizer(SourceFiles.locate().tokenizer), ServedModel())
        assert set(await logits(reranker, QUESTION, TEXTS)) == set(TEXTS)


def test_the_start_script_says_what_it_needs_where_it_does_not_find_it():
    started = subprocess.run([TRITON / "start.sh"], capture_output=True, text=True, timeout=60, check=False)
    assert started.returncode == 1
    assert "trtllm-python-py3" in started.stderr
