"""Reads and writes single objects of a Kubernetes API in milliseconds; kubectl takes half a second."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

ASKED_S = 20.0
# Kinds that the rig itself writes: their paths.
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "DestinationRule": "destinationrules",
    "Endpoints": "endpoints",
    "EnvoyFilter": "envoyfilters",
    "AuthorizationPolicy": "authorizationpolicies",
    "Namespace": "namespaces",
    "PeerAuthentication": "peerauthentications",
    "Pod": "pods",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "Sidecar": "sidecars",
    "VirtualService": "virtualservices",
    "WorkloadEntry": "workloadentries",
}
Object = Mapping[str, Any]


class KubeRefused(Exception):
    """The API's answer was no; `str()` is what it said, `status` its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class KubeClient:
    """As the administrator whose token it has.

    Args:
        port: On the loopback; its certificate is its own and not looked at.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._place = (host, port)
        self._token = token
        self._tls = ssl._create_unverified_context()  # noqa: S323, SLF001  # our own server, on the loopback

    async def apply(self, *objects: Object) -> None:
        """Server-side apply, as one field manager; an object that is not there is made. Raises KubeRefused."""
        for each in objects:
            await self._ask("PATCH", f"{path_of(each)}?fieldManager=rig&force=true&fieldValidation=Strict", each)

    async def report(self, item: Object) -> None:
        """Server-side apply of an object's status: what only the one who runs it knows. Raises KubeRefused."""
        await self._ask("PATCH", f"{path_of(item)}/status?fieldManager=rig&force=true", item)

    async def delete(self, kind: Object) -> None:
        """Delete what has this kind, namespace and name; nothing happens when it is gone. Raises KubeRefused."""
        try:
            await self._ask("DELETE", path_of(kind))
        except KubeRefused as refused:
            if refused.status != http.HTTPStatus.NOT_FOUND:
                raise

    async def get(self, path: str) -> Any:
        """The object or the list at an API path. Raises KubeRefused."""
        return await self._ask("GET", path)

    async def _ask(self, method: str, path: str, body: Object | None = None) -> Any:
        return await asyncio.to_thread(self._ask_now, method, path, body)

    def _ask_now(self, method: str, path: str, body: Object | None) -> Any:
        connection = http.client.HTTPSConnection(*self._place, timeout=ASKED_S, context=self._tls)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/apply-patch+yaml"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise KubeRefused(answer.status, found.get("message", str(answer.status)))
        return found


def path_of(item: Object) -> str:
    """Where the API has this object."""
    version, metadata = item["apiVersion"], item["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{namespace}/{PLURALS[item['kind']]}/{metadata['name']}"
