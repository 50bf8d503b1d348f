#!/usr/bin/env bash
# dev.sh up|down: the whole system in a KinD cluster on this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh

has_cluster() { kind get clusters 2> /dev/null | grep -qx "$CLUSTER_NAME"; }

up() {
    local target
    deploy/scripts/preflight.sh dev
    deploy/scripts/build.sh
    if ! has_cluster; then
        kind create cluster --name "$CLUSTER_NAME" --image "$KIND_NODE_IMAGE" --wait 120s
    fi
    kubectl config use-context "kind-$CLUSTER_NAME"
    for target in "${IMAGES[@]}"; do # no registry: the node gets them from the engine
        kind load docker-image --name "$CLUSTER_NAME" "$(image_of "$target")"
    done
    deploy/scripts/install.sh kind
    deploy/scripts/deploy.sh kind
    say "now: make ingest, then make port-forward"
}

down() {
    ! has_cluster || kind delete cluster --name "$CLUSTER_NAME"
}

case ${1:-} in
    up | down) "$1" ;;
    *) die "usage: dev.sh up|down" ;;
esac
