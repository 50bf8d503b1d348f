"""Makes the Secrets that the manifests name and that are not there yet: deploy/scripts/make_secrets.py [CONTEXT]

Nothing is written anywhere but into the cluster, over kubectl's standard input (KUBECTL names another). One that exists
is left alone: a store keeps the password that it was begun with. A value that the environment names (GIVEN) goes in
whatever was there: the password of a store outside, the token for a model's weights. Print a caller's key with:
    kubectl -n rag get secret askmesh-tokens -o jsonpath='{.data.asker}' | base64 -d
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BYTES = 32  # as long as the hashes that are keyed with them
DAYS = 3650  # of OpenSearch's certificate, which only its own node sees
NODE = "opensearch.rag"  # plugins.security.nodes_dn of deploy/stores

# Namespace -> Secret -> keys. tests/deploy holds it and the manifests together.
SECRETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "rag": {
        "askmesh-redis": ("password",),
        "askmesh-weaviate": ("api-key",),
        "askmesh-opensearch": ("password",),
        "askmesh-opensearch-transport": ("tls.crt", "tls.key", "ca.crt"),
        "askmesh-signing": ("answers", "page-tokens"),
        "askmesh-tokens": ("asker", "ingester", "operator"),
        "askmesh-api-keys": ("keys.json",),
    },
    "observability": {"grafana": ("admin-password",)},
}

# Environment variable -> Secret and key in NAMESPACE, where the variable is set.
GIVEN: Mapping[str, tuple[str, str]] = {
    "HF_TOKEN": ("hf-token", "token"),
    "OPENSEARCH_PASSWORD": ("askmesh-opensearch", "password"),
    "REDIS_PASSWORD": ("askmesh-redis", "password"),
    "WEAVIATE_API_KEY": ("askmesh-weaviate", "api-key"),
}
NAMESPACE = "rag"

Kubectl = Callable[..., str]


def main() -> int:
    context = ["--context", sys.argv[1]] if len(sys.argv) > 1 else []

    def kubectl(*arguments: str, stdin: str = "") -> str:
        command = [os.environ.get("KUBECTL", "kubectl"), *context, *arguments]
        return subprocess.run(command, input=stdin, text=True, check=True, stdout=subprocess.PIPE).stdout

    for namespace in SECRETS:
        # Secrets come before everything else, so their namespace may not be there yet; the manifests own it afterwards.
        apply(kubectl, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        made = create(kubectl, namespace)
        print(f"{namespace}: made {', '.join(made) or 'nothing, all are there'}")
    put_given(kubectl, os.environ)
    return 0


def put_given(kubectl: Kubectl, environment: Mapping[str, str]) -> None:
    """Put in what the environment names: each is the only key of its Secret."""
    for variable, (name, key) in GIVEN.items():
        if value := environment.get(variable):
            apply(kubectl, secret(NAMESPACE, name, {key: value}))


def apply(kubectl: Kubectl, document: Mapping[str, object]) -> None:
    """Server-side: the client's way would keep the values in an annotation as well.

    As a manager of its own, since an apply takes away what its manager put there before: the namespace's labels are the
    manifests'.
    """
    options = ("--server-side", "--force-conflicts", "--field-manager", "askmesh-secrets")
    kubectl("apply", *options, "-f", "-", stdin=json.dumps(document))


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Mapping[str, object]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "askmesh"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}


def create(kubectl: Kubectl, namespace: str) -> list[str]:
    """Create what is missing in a namespace that exists; returns the names."""
    listed = kubectl("-n", namespace, "get", "secrets", "-o", "name").split()
    there = {line.partition("/")[2] for line in listed}
    missing = [name for name in SECRETS[namespace] if name not in there]
    if "askmesh-api-keys" in missing or "askmesh-tokens" in missing:
        missing += [name for name in ("askmesh-tokens", "askmesh-api-keys") if name in there]  # they belong together
    values = contents()
    for name in missing:
        apply(kubectl, secret(namespace, name, {key: values[name, key] for key in SECRETS[namespace][name]}))
    return missing


def contents() -> dict[tuple[str, str], str]:
    """Fresh values for every key of every Secret."""
    made = {
        (name, key): secrets.token_hex(BYTES) for secret in SECRETS.values() for name in secret for key in secret[name]
    }
    made["askmesh-api-keys", "keys.json"] = keys_file(
        {
            made["askmesh-tokens", "asker"]: ["ask"],
            made["askmesh-tokens", "ingester"]: ["ask", "ingest"],
            made["askmesh-tokens", "operator"]: ["ask", "admin", "operator"],
        }
    )
    certificate, key = self_signed(NODE)
    made["askmesh-opensearch-transport", "tls.crt"] = made["askmesh-opensearch-transport", "ca.crt"] = certificate
    made["askmesh-opensearch-transport", "tls.key"] = key
    return made


def keys_file(roles: Mapping[str, Sequence[str]]) -> str:
    """chassis.auth.ApiKey's file: hashes of keys and what their holders may do."""
    return json.dumps(
        [
            {
                "sha256": hashlib.sha256(key.encode()).hexdigest(),
                "tenant": "default",
                "subject": role[-1],
                "roles": list(role),
            }
            for key, role in roles.items()
        ]
    )


def self_signed(name: str) -> tuple[str, str]:
    """A certificate that is its own authority, and its key, in PEM (PKCS #8, as OpenSearch wants it)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


if __name__ == "__main__":
    sys.exit(main())
