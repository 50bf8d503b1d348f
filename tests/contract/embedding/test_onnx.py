"""The embedder in process, held to the port's suite; tests/unit/embedding has what it alone promises."""

from __future__ import annotations

import pytest

from embedding.manifest import Precision, fingerprint
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from tests.contract.embedding.suite import EmbedderSuite


@pytest.fixture(params=list(Precision))
def precision(request):
    return request.param


class TestSuite(EmbedderSuite):
    @pytest.fixture
    async def embedder(self, precision):
        async with OnnxEmbedder.opened(await ensure_model(precision), precision, lanes=2) as opened:
            yield opened

    @pytest.fixture
    def other_fingerprints(self, precision) -> set[str]:
        return {fingerprint(each) for each in Precision if each is not precision}
