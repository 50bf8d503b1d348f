#!/usr/bin/env bash
# ingest.sh [FOLDER]: stores the documents of FOLDER (docs/ without one) in the cluster, with the command line of this
# checkout through a forwarded port: no copy of them is kept in the cluster. For a bucket's worth use the ingestion job.
# INGEST_TOKEN is what it asks with; without one, the key that make_secrets.py made for the ingesting role.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh
folder=${1:-${DOCS_PATH:-docs}}
port=${INGEST_PORT:-15052}

deploy/scripts/preflight.sh deploy
token=${INGEST_TOKEN:-$(key_of ingester)}
kubectl --namespace "$NAMESPACE" port-forward service/retriever "$port:50052" > /dev/null &
forward=$!
trap 'kill "$forward" 2> /dev/null || true' EXIT
for _ in {1..50}; do # until the port is open
    ! (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
    kill -0 "$forward" 2> /dev/null || die "the retriever cannot be reached: kubectl port-forward ended"
    sleep 0.2
done
ASKMESH_CLIENT_TARGET="127.0.0.1:$port" ASKMESH_CLIENT_TOKEN=$token "$PYTHON" -m askmesh ingest "$folder"
