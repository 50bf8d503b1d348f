#!/usr/bin/env bash
# build.sh [TARGET...]: builds the images REGISTRY/askmesh-<target>:TAG, all of them without any; PUSH=1 pushes them too.
# ENGINE is docker, podman or buildah, whichever is found first. BUILD_ARGS are given to it as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/common.sh
source deploy/scripts/common.sh
targets=("$@")
(($#)) || targets=("${IMAGES[@]}")
engine=${ENGINE:-$(first_of docker podman buildah)}
read -r -a own <<< "${BUILD_ARGS:-}"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

# WHEELS=none: dist/images holds them already.
[[ ${WHEELS:-} == none ]] || deploy/scripts/wheels.sh
options=(--file deploy/images/Containerfile --build-arg "DEBIAN_IMAGE=${DEBIAN_IMAGE}")
options+=(--label "org.opencontainers.image.revision=$(git rev-parse HEAD)")
options+=(--label "org.opencontainers.image.version=${TAG}")
case $engine in
    docker) options+=(--build-arg SOURCE_DATE_EPOCH) ;;
    # Without a daemon a build step is a chroot: it needs no rights that the build itself does not have.
    *) options+=(--layers --isolation chroot --timestamp "$SOURCE_DATE_EPOCH") ;;
esac
for target in "${targets[@]}"; do
    image=$(image_of "$target")
    "$engine" build "${options[@]}" "${own[@]}" --target "$target" --tag "$image" .
    [[ ${PUSH:-} != 1 ]] || "$engine" push "$image"
    echo "built $image"
done
