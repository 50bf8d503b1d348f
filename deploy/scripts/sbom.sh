#!/usr/bin/env bash
# sbom.sh [TARGET...]: lists what is in the built images, all of them without any, as dist/images/askmesh-<target>.cdx.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh
targets=("$@")
(($#)) || targets=("${IMAGES[@]}")
engine=${ENGINE:-$(first_of docker podman buildah)}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The image's file system, copied into a folder.
unpack() {
    local container
    if [[ $engine == buildah ]]; then
        container=$(buildah from "$1")
        cp -a "$(buildah mount "$container")/." "$2"
        buildah rm "$container" > /dev/null
    else
        container=$("$engine" create "$1")
        "$engine" export "$container" | tar -x -C "$2"
        "$engine" rm "$container" > /dev/null
    fi
}

mkdir -p dist/images
for target in "${targets[@]}"; do
    mkdir "$root/$target"
    unpack "$(image_of "$target")" "$root/$target"
    "$PYTHON" deploy/scripts/sbom.py "$root/$target" "askmesh-$target" "$TAG" > "dist/images/askmesh-$target.cdx.json"
    echo "dist/images/askmesh-$target.cdx.json"
done
