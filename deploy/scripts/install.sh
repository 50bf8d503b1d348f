#!/usr/bin/env bash
# install.sh kind|gke: the control planes, in the versions of deploy/versions.env, into the cluster kubectl talks to. Every
# file is applied server-side, so a second run changes nothing. RELEASES is where their releases are: a mirror with the
# same paths, or a folder (file:///...), where the cluster's makers may not reach the public one.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh
RELEASES=${RELEASES:-https://github.com}
overlay=${1:-kind}

apply() { kubectl apply --server-side --force-conflicts -f "$RELEASES/$1"; }
ready() { kubectl --namespace "$1" wait deployment --all --for condition=Available --timeout 300s; }

deploy/scripts/preflight.sh deploy
apply "kubernetes-sigs/gateway-api/releases/download/v${GATEWAY_API_VERSION}/standard-install.yaml"
mesh=(-f istio/mesh/install.yaml)
# Where GKE's nodes keep network plugins, and the quota without which their agent may not run in istio-system.
[[ $overlay != gke ]] || mesh+=(--set values.global.platform=gke)
istioctl install -y "${mesh[@]}"
apply "cert-manager/cert-manager/releases/download/v${CERT_MANAGER_VERSION}/cert-manager.yaml"
ready cert-manager # KServe's webhooks get their certificates from it
apply "kedacore/keda/releases/download/v${KEDA_VERSION}/keda-${KEDA_VERSION}.yaml"
# It would read every Secret that a scaled workload names, and none of our triggers needs one.
kubectl --namespace keda set env deployment/keda-operator KEDA_RESTRICT_SECRET_ACCESS=true
apply "kserve/kserve/releases/download/v${KSERVE_VERSION}/kserve.yaml"
kubectl get namespace argo-rollouts -o name 2> /dev/null || kubectl create namespace argo-rollouts
kubectl apply --server-side --force-conflicts --namespace argo-rollouts \
    -f "$RELEASES/argoproj/argo-rollouts/releases/download/v${ARGO_ROLLOUTS_VERSION}/install.yaml"
if [[ $overlay == kind ]]; then # GKE has its own
    apply "kubernetes-sigs/metrics-server/releases/download/v${METRICS_SERVER_VERSION}/components.yaml"
    # KinD's kubelets sign their own certificates.
    kubectl --namespace kube-system patch deployment metrics-server --type strategic --patch \
        '{"spec":{"template":{"spec":{"containers":[{"name":"metrics-server","args":["--cert-dir=/tmp","--secure-port=10250","--kubelet-preferred-address-types=InternalIP","--kubelet-use-node-status-port","--metric-resolution=15s","--kubelet-insecure-tls"]}]}}}}'
fi
for namespace in keda kserve argo-rollouts; do ready "$namespace"; done
