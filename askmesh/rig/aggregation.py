"""Servers of the rig that answer for a group of a Kubernetes API: the API server passes their requests on to them.

It finds such a server by a Service. Endpoints refuse loopback addresses, so the Service is only a name for one
(ExternalName), and nothing else has to exist.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from askmesh.rig.certificates import certify
from askmesh.rig.process import HOST

if TYPE_CHECKING:  # which needs this module
    from askmesh.rig.kubernetes import Kubernetes

AVAILABLE_S = 60


def passing_on_flags(certificates: Path) -> list[str]:
    """kube-apiserver's: who it is to such a server, and how it says who asked."""
    made = certify(certificates, "front-proxy")
    return [
        f"--proxy-client-cert-file={made}/tls.crt",
        f"--proxy-client-key-file={made}/tls.key",
        f"--requestheader-client-ca-file={made}/ca.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    ]


@dataclass(frozen=True, slots=True)
class Group:
    """An API group, and the Service that answers for it."""

    group: str
    version: str
    service: str
    namespace: str

    def certify(self, folder: Path) -> Path:
        """A certificate for whoever answers; a folder as certificates.certify makes it."""
        return certify(folder, self.service, addresses=[f"DNS:{self.service}.{self.namespace}.svc", f"IP:{HOST}"])

    async def register(self, kubernetes: Kubernetes, port: int, certificates: Path) -> None:
        """Return once the API server has asked the one on this port. Raises KubectlFailed."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.service, "namespace": self.namespace},
            "spec": {"type": "ExternalName", "externalName": HOST, "ports": [{"port": port}]},
        }
        name = f"{self.version}.{self.group}"
        registered = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": self.group,
                "version": self.version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": authority_of(certificates),
                "service": {"name": self.service, "namespace": self.namespace, "port": port},
            },
        }
        await kubernetes.apply(service, registered)
        await kubernetes.kubectl("wait", "--for=condition=Available", f"apiservice/{name}", f"--timeout={AVAILABLE_S}s")


def authority_of(certificates: Path) -> str:
    """Who signed them, as Kubernetes' caBundle fields have it."""
    return base64.b64encode((certificates / "ca.crt").read_bytes()).decode()
