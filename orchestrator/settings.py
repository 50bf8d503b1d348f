"""The orchestrator's settings: ASKMESH_ORCHESTRATOR_..., read once in app.py; chassis.settings has the common ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from chassis.settings import Also, ServiceSettings, service_config
from embedding.manifest import Precision


def _without_scheme(address: object) -> object:
    """The original's RETRIEVER_URL is an HTTP URL; gRPC dials its host and port."""
    return address.removeprefix("http://").rstrip("/") if isinstance(address, str) else address


class OrchestratorSettings(ServiceSettings):
    """Names in `Also` are the original system's."""

    model_config = service_config("ASKMESH_ORCHESTRATOR_")

    listen: str = Field(
        "127.0.0.1:50051", description="Address of the gRPC server: host:port (0 = a free one) or unix:/path."
    )

    retriever_address: Annotated[str, Also("RETRIEVER_URL"), BeforeValidator(_without_scheme)] = Field(
        "127.0.0.1:50052", description="The retriever's gRPC address: host:port or unix:/path."
    )
    # One address may stand for many servers (a Kubernetes service); only then is a second call worth anything.
    retriever_endpoints: int = Field(
        1, ge=1, le=10_000, description="How many servers answer at retriever_address; hedging needs two."
    )
    # In one process they share its processors: of 300 asks at once on two busy cores 93 were answered, 206 OVERLOADED
    # and one UNAVAILABLE with 2; 47 were answered and 249 UNAVAILABLE with 8. Raise it with the retriever's servers.
    max_retrievals: int = Field(
        0, ge=0, le=10_000, description="Retrievals under way at the same time; 0: one per processor, at least 2."
    )
    retrieve_timeout_ms: Annotated[int, Also("RETRIEVAL_TIMEOUT_MS")] = Field(
        250, ge=10, le=5_000, description="Milliseconds a retrieval may take (the original's timebox)."
    )

    embedder: Literal["onnx", "triton", "none"] = Field(
        "onnx",
        description="onnx: MiniLM in this process; triton: on Triton; none: no semantic cache, the retriever embeds.",
    )
    embedder_address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, for embedder=triton.")
    embedder_precision: Precision = Field(
        Precision.INT8, description="Must be the retriever's, else every question is embedded twice."
    )

    generator: Literal["extractive", "openai", "triton"] = Field(
        "extractive",
        description="extractive: the sources' own sentences; openai: a server of chat completions; triton: Triton.",
    )
    llm_url: Annotated[str, Also("LLM_URL")] = Field(
        "", description="Base URL of the model server with its version (https://host/v1), for generator=openai."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="Sent to llm_url as a bearer token; empty sends none.")
    llm_system_role: bool = Field(False, description="The model's chat template knows a system role; Gemma's does not.")
    triton_address: str = Field("127.0.0.1:8001", description="Triton's gRPC address: host:port, for generator=triton.")
    triton_codec: Literal["trtllm", "ensemble", "vllm"] = Field(
        "trtllm", description="The model's tensors: TensorRT-LLM's LLM API, its older engine path, or the vLLM backend."
    )
    triton_model: str = Field("tensorrt_llm", min_length=1, description="The model's name in Triton's repository.")
    triton_model_version: str = Field(
        "1", pattern="^[1-9][0-9]*$", description="Its version there; changing it empties the cache."
    )
    # With KServe and KEDA (deploy/triton) the server is not there at night: that is no fault, and worth a wait.
    triton_scales_to_zero: bool = Field(
        False, description="An unreachable Triton is being started: answers say MODEL_COLD and when to ask again."
    )
    model_name: Annotated[str, Also("MODEL_NAME")] = Field(
        "gemma-2-2b-it", description="The model as the server names it."
    )
    model_revision: str = Field("", description="The model's revision; changing it empties the cache.")
    tokenizer_file: Path | None = Field(None, description="The model's tokenizer.json; none: tokens are estimated.")
    instructions: Annotated[str, Also("RAG_SYSTEM_PROMPT")] = Field(
        "", max_length=4_000, description="Told to the model after the rules on sources and citations, which stay."
    )
    context_tokens: int = Field(
        8_192, ge=512, le=2_000_000, description="The model's window in tokens, prompt and answer together."
    )
    # 30 s is the original's ConfigMap; its code default of 1.8 s cut every real answer off.
    generation_timeout_ms: Annotated[int, Also("GEN_TIMEOUT_MS")] = Field(
        30_000, ge=100, le=600_000, description="Milliseconds the longest generation may take."
    )
    # As long as between two tokens: who has queued or read the prompt for 10 s will not answer while somebody waits.
    first_token_ms: int = Field(
        10_000, ge=50, le=600_000, description="Milliseconds a model may be silent before an extractive answer is made."
    )
    token_stall_ms: int = Field(
        10_000, ge=100, le=600_000, description="Longest gap between two tokens in milliseconds."
    )
    price_per_million_prompt_tokens: float = Field(0.0, ge=0, description="US dollars; what a cost is reckoned from.")
    price_per_million_completion_tokens: float = Field(0.0, ge=0, description="US dollars, for the answer's tokens.")

    cache: Literal["memory", "redis", "off"] = Field(
        "memory", description="memory: in this process; redis: shared by all replicas; off: none."
    )
    cache_max_entries: int = Field(
        2_000, ge=1, le=1_000_000, description="Answers kept; with cache=redis by all replicas together."
    )
    cache_ttl_s: Annotated[float, Also("CACHE_TTL_SECONDS")] = Field(
        600.0, gt=0, le=86_400 * 30, description="Seconds an answer is kept at most."
    )
    cache_similarity: Annotated[float, Also("CACHE_SIM_THRESHOLD")] = Field(
        0.90, ge=0.5, le=1.0, description="Cosine from which on two questions may be the same; the guard decides."
    )

    mirror: Literal["off", "redis"] = Field(
        "off", description="redis: read snapshots there first; used once the retrievers have mirror=redis as well."
    )

    flights: Literal["local", "redis"] = Field(
        "local", description="redis: identical questions share one generation over all replicas; local: in each."
    )

    redis_url: SecretStr = Field(
        SecretStr(""), description="redis://, rediss:// or unix:// with user and password; empty: host and port below."
    )
    redis_host: Annotated[str, Also("SPRING_REDIS_HOST")] = Field(
        "127.0.0.1", description="For whatever says redis above."
    )
    redis_port: Annotated[int, Also("SPRING_REDIS_PORT")] = Field(6379, ge=1, le=65_535, description="As above.")
    # 52 ms is what a hung Redis then costs an ask, until the breaker opens; redis-py as it comes takes over 30 s.
    # A new connection over TLS is four or five round trips: to a Redis 20 ms away none came up in 50.
    redis_timeout_ms: int = Field(
        50,
        ge=5,
        le=5_000,
        description="Milliseconds Redis may take to connect or to reply; a call of the cache takes that in all, or 50.",
    )
    redis_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs what is kept in Redis, at least 16 characters, the same in all replicas and retrievers.",
    )

    default_max_tokens: int = Field(512, ge=1, le=4_096, description="Tokens generated when a request names no limit.")
    default_temperature: float = Field(0.2, ge=0, le=2, description="Used when a request names none.")
