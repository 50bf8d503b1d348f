from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from embedding.manifest import ModelFiles, Precision
from embedding.models import find_model
from embedding.onnx import OnnxEmbedder


@pytest.fixture(scope="session")
def int8_files() -> ModelFiles:
    return built(Precision.INT8)


@pytest.fixture(scope="session")
def fp32_files() -> ModelFiles:
    return built(Precision.FP32)


@pytest.fixture
async def int8(int8_files: ModelFiles) -> AsyncIterator[OnnxEmbedder]:
    async with OnnxEmbedder.opened(int8_files, Precision.INT8, lanes=2) as embedder:
        yield embedder


@pytest.fixture
async def fp32(fp32_files: ModelFiles) -> AsyncIterator[OnnxEmbedder]:
    async with OnnxEmbedder.opened(fp32_files, Precision.FP32, lanes=2) as embedder:
        yield embedder


def built(precision: Precision) -> ModelFiles:
    subprocess.run([sys.executable, "-m", "embedding.build", "--precision", precision.value], check=True)
    files = find_model(precision)
    assert files is not None
    return files
