"""The retriever's settings: ASKMESH_RETRIEVER_..., read once; what every service has is in chassis.settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from chassis.settings import Also, ServiceSettings, service_config
from embedding.manifest import Precision

MIB = 1 << 20


class RetrieverSettings(ServiceSettings):
    """Names in `Also` are the original system's."""

    model_config = service_config("ASKMESH_RETRIEVER_")

    listen: str = Field(
        "127.0.0.1:50052", description="Address of the gRPC server: host:port (0 = a free one) or unix:/path."
    )

    search: Literal["embedded", "cluster"] = Field(
        "embedded", description="embedded: SQLite and NumPy in the data folder; cluster: Weaviate and OpenSearch."
    )
    data_folder: Path = Field(
        Path("~/.local/share/askmesh"), description="Where the embedded store lives; one process at a time holds it."
    )
    weaviate_url: Annotated[str, Also("WEAVIATE_URL")] = Field(
        "", description="Dense store's HTTP address (http://host:8080), for search=cluster."
    )
    weaviate_grpc: Annotated[str, Also("WEAVIATE_GRPC")] = Field(
        "", description="Dense store's gRPC address (host:50051), for search=cluster."
    )
    weaviate_api_key: SecretStr = Field(SecretStr(""), description="Sent to the dense store; empty: none.")
    opensearch_url: Annotated[str, Also("OPENSEARCH_URL")] = Field(
        "",
        description="Lexical store and catalogue (https://host:9200, nodes by commas), for search=cluster.",
    )
    opensearch_user: str = Field("", description="Who we are at the lexical store; empty: no credentials are sent.")
    opensearch_password: SecretStr = Field(SecretStr(""), description="Goes with opensearch_user.")
    stores_ca_file: Path | None = Field(
        None, description="PEM, whom https certificates of both stores are checked by; none: the public authorities."
    )
    stores_cert_file: Path | None = Field(None, description="PEM, our own certificate for stores that ask for one.")
    stores_key_file: Path | None = Field(None, description="PEM, its key; none: it is in stores_cert_file.")
    store_prefix: str = Field(
        "askmesh",
        pattern=r"^[a-z][a-z0-9]{0,31}$",
        description="Begins every name in the cluster's stores; installations that share a store need different ones.",
    )

    mirror: Literal["off", "redis"] = Field(
        "off", description="redis: keep every collection's snapshot in Redis, for orchestrators with mirror=redis."
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="redis://, rediss:// or unix:// with user and password, for mirror=redis."
    )
    redis_secret: SecretStr = Field(
        SecretStr(""), description="Signs what is mirrored, at least 16 characters, the orchestrators' own."
    )
    # What a hung Redis adds to a write, twice; after that the write waits out the mirror's 2.1 s.
    redis_timeout_ms: int = Field(50, ge=5, le=5_000, description="Milliseconds Redis may take to connect or to reply.")

    embedder: Literal["onnx", "triton", "none"] = Field(
        "onnx", description="onnx: MiniLM in this process; triton: the same in fp32 on Triton; none: lexical only."
    )
    embedder_address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, for embedder=triton.")
    embedder_precision: Precision = Field(
        Precision.INT8, description="Precision of a new collection's vectors; one collection never mixes two."
    )

    reranker: Literal["none", "onnx", "triton"] = Field(
        "none",
        description="none: the fused order; triton: a cross-encoder on Triton; onnx: late interaction in this process.",
    )
    reranker_address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, for reranker=triton.")
    reranker_model: str = Field("reranker", description="The cross-encoder's name on Triton.")
    reranker_model_version: str = Field("1", description="Its version on Triton.")
    reranker_revision: str = Field(
        "", description="What its weights are called; change it with them, or cached answers of the old ones live on."
    )
    reranker_tokenizer_file: Path | None = Field(
        None, description="Its tokenizer.json; none: BERT's English one, which the MiniLM cross-encoders share."
    )
    reranker_precision: Precision = Field(Precision.INT8, description="Of the model in process, for reranker=onnx.")
    # 30 pairs of 200 tokens are a fraction of what an L4 does in 250 ms, and some 8 are what two cores do.
    rerank_candidates: int = Field(
        30,
        ge=2,
        le=100,
        description="Passages of the fused order that the reranker judges; the rest keep their places.",
    )

    # Triton joins equal lengths of up to four documents into one run; more calls only wait there instead of here.
    embedding_calls: int = Field(
        0, ge=0, le=64, description="Documents embedded at the same time. 0: one in this process, four on Triton."
    )

    # 250 ms is the original's; at 20k chunks both legs and the embedding take some 20 ms on two cores.
    retrieval_timeout_ms: Annotated[int, Also("RETRIEVAL_TIMEOUT_MS")] = Field(
        250, ge=1, le=5_000, description="Milliseconds from the snapshot to the reranker; late legs are left out."
    )
    # Embedding and both legs are this process's own work, some 8 ms of it. More at once finish no sooner: they would
    # all run out of their timeboxes together (300 at once: 280 unavailable); a queue serves them in turn.
    max_retrievals: int = Field(
        0, ge=0, le=10_000, description="Retrievals at the same time; more wait their turn. 0: two per processor."
    )
    # More answers nothing better and crowds the prompt; the contract allows up to 100 on request.
    default_top_k: Annotated[int, Also("TOP_K_DEFAULT")] = Field(
        5, ge=1, le=100, description="Passages returned when a request names no number."
    )

    max_document_bytes: int = Field(
        32 * MIB, ge=1_024, le=512 * MIB, description="Largest document, as sent; larger ones fail alone."
    )
    # Enough to keep embedding busy while a commit syncs to disk; each holds one document's chunks and vectors.
    documents_in_flight: int = Field(
        8, ge=1, le=64, description="Documents of one ingest stream worked on at the same time."
    )
    # Two of the largest documents: extracting text takes several times a file's size.
    ingest_bytes_in_flight: int = Field(
        64 * MIB, ge=1_024, description="Bytes of documents, over all calls, that may be worked on at the same time."
    )
    max_ingest_streams: int = Field(8, ge=1, le=1_000, description="Ingest streams served at the same time.")
    # A 32 MiB text is some 20,000 chunks at 15 ms each on one core.
    document_timeout_s: float = Field(
        300.0, gt=0, le=3_600, description="Seconds one document of an ingest stream may take."
    )

    page_token_key: SecretStr = Field(
        SecretStr(""), description="Signs page tokens; replicas must share it. Empty: a new one at every start."
    )
