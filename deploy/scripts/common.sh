#!/usr/bin/env bash
# What every script of this folder knows; to be sourced from the root of the checkout. Versions come from
# deploy/versions.env; what is yours from the environment, else from .env, which git ignores.
set -euo pipefail

# Reads NAME=value lines without replacing what the environment already says, and exports them.
read_env() {
    local line name
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line =~ ^[A-Z][A-Z0-9_]*= ]] || continue
        name=${line%%=*}
        [[ -n ${!name:-} ]] || export "$name=${line#*=}"
    done < "$1"
}

[[ ! -f .env ]] || read_env .env
read_env deploy/versions.env

# shellcheck disable=SC2034  # for those who source this
IMAGES=(gateway orchestrator retriever ingest)
# shellcheck disable=SC2034  # as above
NAMESPACE=rag
export REGISTRY=${REGISTRY:-localhost}
TAG=${TAG:-$(git rev-parse --short=12 HEAD 2> /dev/null || true)}
export TAG
export CLUSTER_NAME=${CLUSTER_NAME:-askmesh}
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$1"
    exit 1
}

# The first of these programs that is on PATH.
first_of() {
    local name
    for name in "$@"; do
        if command -v "$name" > /dev/null; then
            echo "$name"
            return
        fi
    done
    die "none of these is installed: $*"
}

# The API key of a role (asker, ingester, operator), nothing where none was made.
key_of() {
    kubectl --namespace "$NAMESPACE" get secret askmesh-tokens --ignore-not-found --output "jsonpath={.data.$1}" |
        base64 --decode
}

image_of() { echo "${REGISTRY}/askmesh-$1:${TAG}"; }
