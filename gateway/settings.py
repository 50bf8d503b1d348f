"""The gateway's settings: ASKMESH_GATEWAY_<FIELD>, read once in app.py."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chassis.settings import GRPC_SERVER_FIELDS, CommaList, ServiceSettings, service_config

KIB = 1024
MIB = 1024 * KIB


class GatewaySettings(ServiceSettings):
    """Where the gateway listens, whom it calls, and what it lets in."""

    model_config = service_config("ASKMESH_GATEWAY_")
    unused: ClassVar[frozenset[str]] = GRPC_SERVER_FIELDS  # it serves HTTP; the services check credentials

    host: str = Field("127.0.0.1", description="Address the HTTP server listens on; 0.0.0.0 for every interface.")
    port: int = Field(8080, ge=0, le=65_535, description="Its port; 0 = a free one.")
    allowed_hosts: CommaList = Field(
        (),
        description="Host headers that are served; empty: on a loopback address loopback names only (a web page must "
        "not reach a local installation by rebinding its own name), elsewhere any. * serves any.",
    )
    orchestrator_address: str = Field(
        "127.0.0.1:50051", description="Where the orchestrator is: host:port or unix:/path."
    )
    retriever_address: str = Field("127.0.0.1:50052", description="Where the retriever is: host:port or unix:/path.")
    default_collection: str = Field("docs", description="Collection of the original system's routes, which name none.")

    default_timeout_s: float = Field(30.0, gt=0, le=600, description="Seconds for a request that names no deadline.")
    upload_timeout_s: float = Field(
        600.0, gt=0, le=600, description="Seconds for an upload that names no deadline: embedding takes 15 ms a chunk."
    )
    max_timeout_s: float = Field(
        600.0, gt=0, le=600, description="Longest deadline a caller may ask for; the services allow no more."
    )
    header_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Seconds a connection gets to send a request's headers."
    )
    keep_alive_s: float = Field(75.0, ge=0, le=600, description="Seconds an idle connection stays open.")

    max_ask_bytes: int = Field(
        64 * KIB, ge=1, le=MIB, description="Largest body of asks, searches and everything else but documents."
    )
    max_document_json_bytes: int = Field(
        4 * MIB + 64 * KIB, ge=1, le=64 * MIB, description="Largest document as JSON: 3 MiB in base64 and its fields."
    )
    max_document_bytes: int = Field(
        32 * MIB, ge=1, le=1024 * MIB, description="Largest document sent as a raw file; it is passed on in parts."
    )

    heartbeat_s: float = Field(
        10.0, gt=0, le=300, description="Seconds of silence after which a stream says a comment."
    )
    replay_ttl_s: float = Field(60.0, ge=0, le=3_600, description="Seconds a finished answer can still be resumed.")
    replay_max_answers: int = Field(256, ge=0, le=100_000, description="Most finished answers held for that.")
