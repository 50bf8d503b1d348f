#!/bin/sh
# Starts Triton in NVIDIA's TensorRT-LLM container on the repository beside this script. The model's code is the
# container's own and is put beside our configuration here, so that the two are never of different releases.
#
#   start.sh [further options of tritonserver]
#
# WEIGHTS: where the weights are, /weights by itself.  LLMAPI_MODEL: the folder of the model's code, found by itself.
set -eu

WEIGHTS=${WEIGHTS:-/weights}
export WEIGHTS
here=$(cd "$(dirname "$0")" && pwd)
# /app/all_models/llmapi/tensorrt_llm/1 in 26.07 (tensorrtllm_backend, dockerfile/Dockerfile.triton.trt_llm_backend).
code=${LLMAPI_MODEL:-}
if [ -z "$code" ]; then
    found=$(find /app /opt /workspace -path '*/llmapi/tensorrt_llm/1/model.py' -print -quit 2>/dev/null || true)
    code=${found%/model.py}
fi
if [ -z "$code" ]; then
    echo "no LLM-API model in this container: it needs a tritonserver image with trtllm-python-py3 in its tag" >&2
    exit 1
fi
reader=get_sampling_params_from_request
if ! grep -q "^def $reader" "$code/helpers.py" || ! grep -q "$reader" "$code/model.py"; then
    echo "this container's LLM-API model reads requests in another way than that of 26.07, which this script knows:" \
        "see deploy/triton/models/tensorrt_llm/1/end_of_turn.py" >&2
    exit 1
fi
repository=$(mktemp -d)
cp -R "$here/models/." "$repository"
model=$repository/tensorrt_llm/1
cp "$code"/*.py "$model/"
chmod -R u+w "$repository"
sed -i "s|^model: /weights|model: $WEIGHTS|" "$model/model.yaml"
printf '\n\nfrom end_of_turn import ending_turns\n%s = ending_turns(%s)\n' "$reader" "$reader" >>"$model/helpers.py"

# Pings: askmesh asks for none before 300 s; a proxy in between may, and would be hung up on.
exec tritonserver \
    --model-repository="$repository" \
    --grpc-port=8001 --http-port=8000 --metrics-port=8002 \
    --grpc-http2-min-recv-ping-interval-without-data=10000 \
    --exit-timeout-secs=30 \
    "$@"
