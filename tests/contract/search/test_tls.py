"""Stores whose certificates come from an authority of the house's own, and that ask for one of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from askmesh.rig.certificates import certify
from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, SearchUnavailable, SettingsInvalid
from retriever.search.opensearch import open_opensearch
from retriever.search.tls import StoreTls
from retriever.search.weaviate import open_engine
from tests.contract.search.clusters import OPENSEARCH
from tests.contract.search.samples import TENANT, budget, vectors_of, written
from tests.contract.search.weaviates import WEAVIATE, dense_at, namespace_of
from tests.proxies import HOST, encrypted


@pytest.fixture
def certificates(tmp_path):
    return certify(tmp_path / "certificates", "store", addresses=[f"IP:{HOST}"])


@pytest.fixture
def ours(certificates):
    return StoreTls(certificates / "ca.crt", certificates / "tls.crt", certificates / "tls.key")


@pytest.fixture
async def words(tmp_path, certificates):
    async with (
        OPENSEARCH.installation(tmp_path) as address,
        encrypted((OPENSEARCH.node.port, 0), certificates) as port,
    ):
        yield replace(address, url=f"https://{HOST}:{port}")


async def test_words_are_reached_with_the_houses_authority_and_our_certificate(words, ours):
    async with open_opensearch(replace(words, tls=ours)) as store:
        assert await store.heads.list("acme", after="", limit=5, budget=budget()) == []


async def test_words_under_an_unknown_authority_are_refused_and_the_setting_named(words):
    with pytest.raises(CatalogueUnavailable, match="STORES_CA_FILE"):
        async with open_opensearch(words):
            pass


async def test_vectors_are_reached_through_both_doors(tmp_path, certificates, ours):
    server = await WEAVIATE.running()
    async with encrypted((server.port, server.ports["grpc"]), certificates) as port:
        async with open_engine(f"https://{HOST}:{port}", f"{HOST}:{port}", tls=ours) as engine:
            dense, rows = dense_at(engine, namespace_of(str(tmp_path))), [written("a", 1, 0, ["word"])]
            await dense.write(TENANT, "uid-1", rows, vectors_of(rows), budget=budget())
            assert await dense.seal(TENANT, "uid-1", 1, budget=budget()) == 1
        async with open_engine(f"https://{HOST}:{port}", f"{HOST}:{port}") as stranger:
            with pytest.raises(SearchUnavailable):
                await stranger.classes(budget=Budget.of(5.0))


async def test_the_key_may_be_in_the_certificates_file(certificates):
    server = await WEAVIATE.running()
    both = certificates / "both.pem"
    both.write_bytes((certificates / "tls.crt").read_bytes() + (certificates / "tls.key").read_bytes())
    tls = StoreTls(certificates / "ca.crt", both)
    async with (
        encrypted((server.port, server.ports["grpc"]), certificates) as port,
        open_engine(f"https://{HOST}:{port}", f"{HOST}:{port}", tls=tls) as engine,
    ):
        await engine.classes(budget=Budget.of(5.0))
        dense, rows = dense_at(engine, namespace_of(str(both))), [written("a", 1, 0, ["word"])]
        await dense.write(TENANT, "uid-1", rows, vectors_of(rows), budget=budget())


@pytest.mark.parametrize("wrong", ["ca_file", "cert_file", "key_file"])
async def test_a_file_that_cannot_be_used_is_said_at_the_start(words, ours, tmp_path, wrong):
    (tmp_path / "none.pem").write_text("not a certificate")
    with pytest.raises(SettingsInvalid, match="STORES_CA_FILE"):
        async with open_opensearch(replace(words, tls=replace(ours, **{wrong: tmp_path / "none.pem"}))):
            pass


def test_a_key_without_a_certificate_is_said_at_the_start(certificates):
    with pytest.raises(SettingsInvalid, match="STORES_CERT_FILE"):
        StoreTls(key_file=certificates / "tls.key")
