#!/bin/sh
# Starts Triton in NVIDIA's TensorRT-LLM container on the repository beside this script. The model's code is the
# container's own and is put beside our configuration here, so that the two are never of different releases.
#
#   start.sh [further options of tritonserver]      WEIGHTS: where the weights are, /weights by itself
set -eu

here=$(cd "$(dirname "$0")" && pwd)
code=$(find /app /opt /workspace -path '*/llmapi/tensorrt_llm/1/model.py' -print -quit 2>/dev/null || true)
if [ -z "$code" ]; then
    echo "no LLM-API model in this container: it needs a tritonserver image with trtllm-python-py3 in its tag" >&2
    exit 1
fi
repository=$(mktemp -d)
cp -R "$here/models/." "$repository"
cp "$(dirname "$code")"/*.py "$repository/tensorrt_llm/1/"
chmod -R u+w "$repository"
sed -i "s|^model: /weights|model: ${WEIGHTS:-/weights}|" "$repository/tensorrt_llm/1/model.yaml"

# Pings: askmesh asks for none before 300 s; a proxy in between may, and would be hung up on.
exec tritonserver \
    --model-repository="$repository" \
    --grpc-port=8001 --http-port=8000 --metrics-port=8002 \
    --grpc-http2-min-recv-ping-interval-without-data=10000 \
    --exit-timeout-secs=30 \
    "$@"
