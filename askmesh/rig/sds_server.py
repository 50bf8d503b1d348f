"""The secret discovery server of the rig: what Istio's agent and CA are to a sidecar, for all sidecars of one mesh.

    python -m askmesh.rig.sds_server PORT

It serves `default` (a key, and a certificate with the SPIFFE identity of the asking sidecar's service account) and
`ROOTCA` over gRPC, with a new CA at each start. It believes what a sidecar says about itself, where Istio's CA asks
Kubernetes: identities of this mesh prove nothing outside of the tests.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"
TRUST_DOMAIN = "cluster.local"
TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
LIFE = datetime.timedelta(days=2)  # no mesh of the rig runs longer: nothing is rotated
SKEW = datetime.timedelta(minutes=5)


class Authority:
    """A certificate authority of one process's life."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, TRUST_DOMAIN)])
        builder = self._builder(self._key, self._name).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.root = _pem(builder.sign(self._key, hashes.SHA256()))

    def issue(self, namespace: str, service_account: str) -> tuple[bytes, bytes]:
        """A certificate for the identity, with its key."""
        identity = f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{service_account}"
        key = ec.generate_private_key(ec.SECP256R1())
        both_ways = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        builder = self._builder(key, x509.Name([])).add_extension(names, critical=True)
        certificate = builder.add_extension(both_ways, critical=False).sign(self._key, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _pem(certificate), secret

    def _builder(self, key: ec.EllipticCurvePrivateKey, subject: x509.Name) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - SKEW).not_valid_after(now + LIFE)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class SecretService(grpc.GenericRpcHandler):
    """envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets: one answer per subscription, then silence."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._discovery: Any = importlib.import_module("envoy.service.discovery.v3.discovery_pb2")
        self._tls: Any = importlib.import_module("envoy.extensions.transport_sockets.tls.v3.secret_pb2")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets":
            return None
        return grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=self._discovery.DiscoveryRequest.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )

    async def stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ARG002  # gRPC's signature
        metadata: Mapping[str, Any] = {}
        sent: tuple[str, ...] = ()
        async for request in requests:
            if request.node.id:  # on the first request only
                metadata = dict(request.node.metadata.items())
            names = tuple(request.resource_names)
            if not names or names == sent:
                continue  # an acknowledgement
            sent = names
            reply = self._discovery.DiscoveryResponse(version_info="1", type_url=TYPE_URL, nonce="1")
            for name in names:
                reply.resources.add().Pack(self._secret(name, metadata))
            yield reply

    def _secret(self, name: str, metadata: Mapping[str, Any]) -> Any:
        secret = self._tls.Secret(name=name)
        if name == "ROOTCA":
            secret.validation_context.trusted_ca.inline_bytes = self._authority.root
            return secret
        chain, key = self._authority.issue(metadata["NAMESPACE"], metadata["SERVICE_ACCOUNT"])
        secret.tls_certificate.certificate_chain.inline_bytes = chain + self._authority.root
        secret.tls_certificate.private_key.inline_bytes = key
        return secret


async def serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((SecretService(Authority()),))
    server.add_insecure_port(f"{HOST}:{port}")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start()
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
