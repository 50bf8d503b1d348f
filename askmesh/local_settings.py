"""Settings of the one-process mode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from chassis.settings import GRPC_SERVER_FIELDS, ServiceSettings, service_config


def default_data_folder() -> Path:
    """$XDG_DATA_HOME/askmesh, by the XDG base directory specification ~/.local/share/askmesh when it is not set."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "askmesh"


class LocalSettings(ServiceSettings):
    """What `askmesh up` needs beyond the settings of the services themselves."""

    model_config = service_config("ASKMESH_LOCAL_")
    unused: ClassVar[frozenset[str]] = GRPC_SERVER_FIELDS  # the retriever's and the orchestrator's are used

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="Least severe level logged; a line per call would drown what a newcomer reads."
    )
    data_folder: Path = Field(
        default_factory=default_data_folder, description="Folder of the embedded store; one process at a time."
    )
    http_host: str = Field("127.0.0.1", description="Address of the page and REST.")
    http_port: int = Field(8080, ge=0, le=65_535, description="Port of the page and REST; 0 takes a free one.")
    grpc_host: str = Field("127.0.0.1", description="Address of gRPC.")
    grpc_port: int = Field(50051, ge=0, le=65_535, description="Port of gRPC; 0 takes a free one.")
    collection: str = Field("docs", description="Collection of calls that name none; the demo is stored there.")
