"""TLS of our own, where there is no mesh to do it."""

from __future__ import annotations

import datetime as dt

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from chassis.channel import open_channel


@pytest.fixture
def certificate():
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, signed.public_bytes(serialization.Encoding.PEM)


async def test_a_server_with_a_certificate_answers_those_who_trust_it_and_nobody_else(workshop, certificate):
    server = await workshop.server(credentials=grpc.ssl_server_credentials([certificate]))
    address, trust = f"localhost:{server.port}", grpc.ssl_channel_credentials(certificate[1])
    async with open_channel(address, credentials=trust) as channel:
        reply = await rpc.OrchestratorServiceStub(channel).Ask(pb.AskRequest(question="hello"), timeout=5.0)
    async with open_channel(address) as plain:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.OrchestratorServiceStub(plain).Ask(pb.AskRequest(question="hello"), timeout=5.0)
    assert reply.text == "hello"
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
