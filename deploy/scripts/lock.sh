#!/usr/bin/env bash
# Rewrites the hashed locks from the .in files. No index address is written, so a lock works behind any mirror.
set -euo pipefail
cd "$(dirname "$0")/../../requirements"
uv=${UV:-../.venv/bin/uv}
groups=(core nodeps weights build cluster objects dev installer go image-{model,ingest,gateway,orchestrator,retriever})
for group in "${groups[@]}"; do  # core first: the others are constrained by it
    options=(); [[ $group == nodeps || $group == weights ]] && options+=(--no-deps)
    "$uv" pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --system-certs \
        --no-emit-index-url --no-annotate --no-header "${options[@]}" "$@" "$group.in" -o "$group.txt"
    echo "$group.txt: $(grep -c == "$group.txt") packages"
done
