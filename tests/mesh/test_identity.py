"""Who may call: certificates over SDS, istiod's own rules for them."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
from contextlib import closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rag.retriever.v1 import document_pb2 as doc_pb
from rag.retriever.v1 import document_pb2_grpc as doc_rpc

from askmesh.rig import envoy
from askmesh.rig.fleet import ADDRESSES
from askmesh.rig.mesh import NAMESPACE
from askmesh.rig.sds_server import Authority
from chassis.channel import open_channel
from tests.mesh.calls import ENOUGH_S, QUESTION, ask_many, orchestrator_from, question


async def refusal(call):
    with pytest.raises(grpc.RpcError) as refused:
        await call
    return refused.value


async def test_a_named_account_may_ask(system):
    async with orchestrator_from(system.client) as stub:
        reply = await stub.Ask(question(), timeout=ENOUGH_S)
    assert "30 seconds" in reply.text


async def test_an_account_that_no_policy_names_may_not(system):
    async with orchestrator_from(system.stranger) as stub:
        refused = await refusal(stub.Ask(question(), timeout=ENOUGH_S))
    assert (refused.code(), refused.details()) == (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")


async def test_who_may_ask_may_not_write_documents(system):
    async with open_channel(ADDRESSES["retriever"], proxy=system.client.outbound) as channel:
        documents = doc_rpc.DocumentServiceStub(channel)
        wanted = doc_pb.GetDocumentRequest(collection="docs", document_id="lease.md")
        refused = await refusal(documents.GetDocument(wanted, timeout=ENOUGH_S))
    assert refused.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("role", ["orchestrator", "retriever"])
async def test_plaintext_is_refused(system, role):
    replica = {"orchestrator": system.orchestrators, "retriever": system.retrievers}[role]["v1"]
    assert await plaintext_code(replica) == grpc.StatusCode.UNAVAILABLE


async def plaintext_code(replica):
    """How a call to its address ends that no sidecar makes."""
    async with open_channel(replica.member.address("grpc-api")) as channel:
        checks = health_pb2_grpc.HealthStub(channel)
        return (await refusal(checks.Check(health_pb2.HealthCheckRequest(), timeout=ENOUGH_S))).code()


async def test_the_same_port_takes_a_call_over_mutual_tls(system):
    """Without it the test above would pass with a listener that refuses everybody."""
    before = await handshakes(system.orchestrators["v1"])
    async with orchestrator_from(system.client) as stub:
        assert await ask_many(stub, 20, (("x-askmesh-variant", "v1"),)) == {"OK": 20}
    assert await handshakes(system.orchestrators["v1"]) >= before > 0


async def handshakes(replica):
    found = await envoy.stats(replica.member.envoy, "listener.*50051.ssl.handshake")
    return sum(found.values())


async def test_plaintext_is_taken_where_the_policy_says_so(system):
    """The port that Prometheus scrapes is permissive: what refuses on the others is the policy, not the listener."""
    address = system.orchestrators["v1"].member.address("http-metrics")
    assert await asyncio.to_thread(got, address, "/metrics") == 200
    assert await asyncio.to_thread(got, address, "/") == 403


@pytest.mark.parametrize(
    ("certificate", "alert"), [(None, "certificate required"), ("of another authority", "decrypt error")]
)
async def test_a_caller_without_a_certificate_of_the_mesh_is_refused(system, tmp_path, certificate, alert):
    address = system.orchestrators["v1"].member.address("grpc-api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whom it refuses, not whom it is
    if certificate:
        for path, content in zip(("chain", "key"), Authority().issue(NAMESPACE, "client"), strict=True):
            (tmp_path / path).write_bytes(content)
        context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    with pytest.raises(ssl.SSLError, match=alert):
        await asyncio.to_thread(first_byte, address, context)


def got(address, path):
    with closing(http.client.HTTPConnection(address, timeout=ENOUGH_S)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def first_byte(address, context):
    """With TLS 1.3 a server judges the caller's certificate after the handshake: a read shows it."""
    host, _, port = address.partition(":")
    plain = socket.create_connection((host, int(port)), timeout=ENOUGH_S)
    with closing(plain), context.wrap_socket(plain) as secured:
        return secured.recv(1)


async def test_a_service_has_the_identity_of_its_account(system):
    text = await envoy.admin(system.gateway.member.envoy, "/certs")
    assert "spiffe://cluster.local/ns/rag/sa/gateway" in text


async def test_the_gateway_answers_through_the_whole_mesh(system):
    """client -> gateway -> orchestrator -> retriever, each hop through two sidecars."""
    status, body = await asyncio.to_thread(post, system.client.outbound)
    assert status == 200
    assert "30 seconds" in body


def post(host):
    with closing(http.client.HTTPConnection(host, 8080, timeout=ENOUGH_S)) as connection:
        headers = {"Host": "gateway.rag.svc.cluster.local:8080", "Content-Type": "application/json"}
        body = json.dumps({"question": QUESTION})
        connection.request("POST", "/v1/collections/docs:ask", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
