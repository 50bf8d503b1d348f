"""The stand-in with the tensors of the engine path's ensemble."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from engine.model import StandIn  # the backend puts only this folder on the path


class TritonPythonModel(StandIn):
    contract = "ensemble"
