"""The stand-in with the tensors of TensorRT-LLM's LLM-API model."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from engine.model import StandIn  # the backend puts only this folder on the path


class TritonPythonModel(StandIn):
    contract = "llmapi"
