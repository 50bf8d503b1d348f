#!/usr/bin/env bash
# deploy.sh kind|gke: namespaces, secrets, then everything of deploy/overlays/<name> with our images from REGISTRY at TAG;
# waits until it serves. deploy.sh down kind|gke takes away what that made. Both may be run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh

# The overlay's manifests with our images in them.
manifests() {
    local folder
    folder=$("$PYTHON" deploy/scripts/render.py "$1")
    kubectl kustomize "$folder"
}

up() {
    local wanted
    deploy/scripts/preflight.sh deploy
    wanted=$(manifests "$1") # a fault in it must stop us before anything is applied
    [[ $wanted == *"$REGISTRY/askmesh-"* ]] || die "the overlay names none of our images"
    "$PYTHON" deploy/scripts/make_secrets.py # pods do not start without
    kubectl apply --server-side --force-conflicts -f - <<< "$wanted"
    kubectl --namespace "$NAMESPACE" rollout status deployment --timeout 600s
    [[ $1 != kind ]] || kubectl --namespace "$NAMESPACE" rollout status statefulset --timeout 600s
    say "deployed $REGISTRY/askmesh-*:$TAG"
}

# The namespaces take with them what was made inside them meanwhile, volumes and secrets included.
down() {
    manifests "$1" | kubectl delete --ignore-not-found --wait -f -
    kubectl delete namespace "$NAMESPACE" observability --ignore-not-found --wait
}

case ${1:-} in
    kind | gke) up "$1" ;;
    down) down "${2:-kind}" ;;
    *) die "usage: deploy.sh kind|gke, deploy.sh down kind|gke" ;;
esac
