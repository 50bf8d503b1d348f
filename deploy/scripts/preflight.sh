#!/usr/bin/env bash
# preflight.sh [build|dev|gke|gpu|deploy]: what is missing for that, each thing in one line with what to do about it.
# Creates nothing. Every script that creates something calls it first. Exits with 1 when anything is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh
problems=0

problem() {
    say "missing: $1"
    problems=$((problems + 1))
}

need_tool() { command -v "$1" > /dev/null || problem "$1 is not on PATH: $2"; }

need_env() {
    local name
    for name in "$@"; do
        [[ -n ${!name:-} ]] || problem "$name is not set: export it or write it to .env"
    done
}

# Major and minor of "v1.35.4" as one number; 0 for what is no version.
minor_of() {
    if [[ ${1#v} =~ ^([0-9]+)\.([0-9]+) ]]; then
        echo $((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2]))
    else
        echo 0
    fi
}

# NAME, found version, wanted version, how many minors it may be away.
need_version() {
    local away=$(($(minor_of "$2") - $(minor_of "$3")))
    ((${away#-} <= $4)) || problem "$1 $3 (deploy/versions.env); here is ${2:-none}"
}

check_engine() {
    local engine=${ENGINE:-docker}
    need_tool "$engine" "it builds the images; or set ENGINE to podman or buildah"
    [[ $engine != docker ]] || ! command -v docker > /dev/null || docker info > /dev/null 2>&1 \
        || problem "the docker daemon does not answer: start it"
    [[ -x $PYTHON ]] || problem "$PYTHON: run \`make setup-dev\`"
}

check_kubectl() {
    need_tool kubectl "it talks to the cluster"
    need_tool istioctl "it installs Istio $ISTIO_VERSION"
    if command -v kubectl > /dev/null; then
        # Kubernetes supports a kubectl of one minor version more or less.
        need_version kubectl "$(kubectl version --client -o json | sed -n 's/.*"gitVersion": *"\(v[^"]*\)".*/\1/p' | head -n 1)" \
            "$KUBERNETES_VERSION" 1
    fi
    if command -v istioctl > /dev/null; then
        need_version istioctl "$(istioctl version --remote=false --short 2> /dev/null | awk 'NR == 1 {print $NF}')" "$ISTIO_VERSION" 0
    fi
}

check_gcloud() {
    need_tool gcloud "the Google Cloud CLI"
    need_env GCP_PROJECT GKE_REGION REGISTRY
    [[ $REGISTRY != localhost ]] || problem "REGISTRY is localhost: name one the cluster can pull from"
    command -v gcloud > /dev/null || return 0
    need_tool gke-gcloud-auth-plugin "gcloud components install gke-gcloud-auth-plugin"
    if [[ -z $(gcloud auth list --filter=status:ACTIVE --format='value(account)') ]]; then
        problem "nobody is logged in: gcloud auth login"
    elif [[ -n ${GCP_PROJECT:-} ]] && ! gcloud projects describe "$GCP_PROJECT" --format='value(projectId)' > /dev/null 2>&1; then
        problem "project $GCP_PROJECT cannot be read with this account"
    fi
}

check_gpu() {
    need_env GPU_MACHINE_TYPE GPU_ACCELERATOR GPU_MIN_NODES GPU_MAX_NODES HF_TOKEN
    [[ ${GPU_MIN_NODES:-0}${GPU_MAX_NODES:-0} =~ ^[0-9]+$ ]] || problem "GPU_MIN_NODES and GPU_MAX_NODES are numbers"
}

check_context() {
    command -v kubectl > /dev/null || return 0
    kubectl get --raw /readyz > /dev/null 2>&1 || problem "no cluster answers kubectl: make dev-up, or make gke-credentials"
}

case ${1:-all} in
    build) check_engine ;;
    dev)
        check_engine
        check_kubectl
        need_tool kind "it runs the cluster in containers"
        ! command -v kind > /dev/null || need_version kind "$(kind version | awk '{print $2}')" "$KIND_VERSION" 2
        ;;
    gke) check_gcloud ;;
    gpu)
        check_gcloud
        check_gpu
        ;;
    deploy)
        check_kubectl
        check_context
        ;;
    all)
        check_engine
        check_kubectl
        check_gcloud
        check_gpu
        ;;
    *) die "usage: preflight.sh [build|dev|gke|gpu|deploy|all]" ;;
esac
((problems == 0)) || die "preflight: $problems missing; nothing was created"
say "preflight: everything is here"
