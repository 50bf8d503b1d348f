#!/usr/bin/env bash
# gke.sh cluster|autopilot|gpu|credentials|expose|down: the cluster on Google Kubernetes Engine. What is there already is
# left as it is, so every command may be run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh

NODE_TYPE=e2-standard-4 # the original's: 4 cores and 16 GB
NODES_PER_ZONE=1        # a regional cluster has three zones: the original's three nodes
SPOT_MAX_PER_ZONE=4     # 12 nodes of 4 cores: 30 retrievers at one core each, and the rest

cloud() { gcloud --quiet --project "$GCP_PROJECT" "$@"; }
exists() { cloud "$@" > /dev/null 2>&1; }

network() {
    if ! exists compute networks describe "$CLUSTER_NAME"; then
        cloud compute networks create "$CLUSTER_NAME" --subnet-mode auto
    fi
    # Nodes have no addresses of their own: what they pull from outside goes through here.
    if ! exists compute routers describe "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud compute routers create "$CLUSTER_NAME" --network "$CLUSTER_NAME" --region "$GKE_REGION"
        cloud compute routers nats create "$CLUSTER_NAME" --router "$CLUSTER_NAME" --region "$GKE_REGION" \
            --auto-allocate-nat-external-ips --nat-all-subnet-ip-ranges
    fi
}

registry() {
    local repository=${REGISTRY##*/}
    if ! exists artifacts repositories describe "$repository" --location "$GKE_REGION"; then
        cloud artifacts repositories create "$repository" --location "$GKE_REGION" --repository-format docker
    fi
}

cluster_options() {
    printf '%s\n' --region "$GKE_REGION" --network "$CLUSTER_NAME" --release-channel regular \
        --cluster-version "${KUBERNETES_VERSION%.*}" --enable-private-nodes
}

cluster() {
    deploy/scripts/preflight.sh gke
    network
    registry
    mapfile -t options < <(cluster_options)
    if ! exists container clusters describe "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud container clusters create "$CLUSTER_NAME" "${options[@]}" --machine-type "$NODE_TYPE" \
            --num-nodes "$NODES_PER_ZONE" --workload-pool "${GCP_PROJECT}.svc.id.goog" --enable-dataplane-v2 \
            --enable-shielded-nodes --enable-image-streaming
    fi
    # What holds no state may run on these, for about a third of the price (overlays/gke/spot.yaml).
    if ! exists container node-pools describe spot --cluster "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud container node-pools create spot --cluster "$CLUSTER_NAME" --region "$GKE_REGION" --spot \
            --machine-type "$NODE_TYPE" --num-nodes 0 --enable-autoscaling --min-nodes 0 \
            --max-nodes "$SPOT_MAX_PER_ZONE" --node-taints cloud.google.com/gke-spot=true:NoSchedule
    fi
    credentials
}

autopilot() {
    deploy/scripts/preflight.sh gke
    network
    registry
    mapfile -t options < <(cluster_options)
    if ! exists container clusters describe "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud container clusters create-auto "$CLUSTER_NAME" "${options[@]}"
    fi
    credentials
    say "an Autopilot cluster refuses Istio's node agent: the mesh cannot run on it (deploy/README.md)"
}

gpu() {
    deploy/scripts/preflight.sh gpu
    if exists container node-pools describe gpu --cluster "$CLUSTER_NAME" --region "$GKE_REGION"; then
        return
    fi
    # From zero: a node comes when a pod asks for its accelerator, and nothing else may land on it.
    cloud container node-pools create gpu --cluster "$CLUSTER_NAME" --region "$GKE_REGION" \
        --machine-type "$GPU_MACHINE_TYPE" --accelerator "type=${GPU_ACCELERATOR},count=1,gpu-driver-version=latest" \
        --num-nodes 0 --enable-autoscaling --location-policy ANY \
        --total-min-nodes "$GPU_MIN_NODES" --total-max-nodes "$GPU_MAX_NODES" \
        --node-taints nvidia.com/gpu=present:NoSchedule
}

credentials() {
    cloud container clusters get-credentials "$CLUSTER_NAME" --region "$GKE_REGION"
    cloud auth configure-docker "${REGISTRY%%/*}"
}

# The door's certificate, from the files TLS_CERT and TLS_KEY, and where the door is.
expose() {
    deploy/scripts/preflight.sh deploy
    if [[ -n ${TLS_CERT:-}${TLS_KEY:-} ]]; then
        kubectl create secret tls askmesh-tls --namespace istio-system --cert "$TLS_CERT" --key "$TLS_KEY" \
            --dry-run=client -o yaml | kubectl apply -f -
    elif [[ -z $(kubectl get secret askmesh-tls --namespace istio-system --ignore-not-found -o name) ]]; then
        die "the door has no certificate: set TLS_CERT and TLS_KEY to its files, or let cert-manager make askmesh-tls"
    fi
    kubectl wait service istio-ingressgateway --namespace istio-system --timeout 300s \
        --for jsonpath='{.status.loadBalancer.ingress[0].ip}'
    kubectl get service istio-ingressgateway --namespace istio-system \
        -o jsonpath='https://{.status.loadBalancer.ingress[0].ip}{"\n"}'
}

down() {
    deploy/scripts/preflight.sh gke
    if exists container clusters describe "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud container clusters delete "$CLUSTER_NAME" --region "$GKE_REGION"
    fi
    if exists compute routers describe "$CLUSTER_NAME" --region "$GKE_REGION"; then
        cloud compute routers delete "$CLUSTER_NAME" --region "$GKE_REGION" # its NAT goes with it
    fi
    if exists compute networks describe "$CLUSTER_NAME"; then
        cloud compute networks delete "$CLUSTER_NAME"
    fi
    say "left as they are: the images in $REGISTRY"
}

case ${1:-} in
    cluster | autopilot | gpu | credentials | expose | down) "$1" ;;
    *) die "usage: gke.sh cluster|autopilot|gpu|credentials|expose|down" ;;
esac
