#!/usr/bin/env bash
# port_forward.sh: the page and REST at http://127.0.0.1:8080, the orchestrator's gRPC at 127.0.0.1:50051; Ctrl-C ends both.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh

deploy/scripts/preflight.sh deploy
say "Where a key is asked for (\"Access token\" on the page), this one may ask:"
say "  kubectl --namespace $NAMESPACE get secret askmesh-tokens --output jsonpath={.data.asker} | base64 --decode"
kubectl --namespace "$NAMESPACE" port-forward service/gateway 8080:8080 &
kubectl --namespace "$NAMESPACE" port-forward service/orchestrator 50051:50051 &
trap 'jobs -p | xargs -r kill 2> /dev/null || true' EXIT
wait -n # when one ends, both do
