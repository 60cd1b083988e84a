#!/bin/bash
# run-container.sh NAME IMAGE HEALTH_URL PODMAN-RUN-ARGUMENTS...
# Replaces the container, and waits until it answers at HEALTH_URL (empty: does not wait).
set -euo pipefail

name=$1
image=$2
health=$3
shift 3

podman pull --quiet "$image"
podman run --detach --replace --restart always --name "$name" "$@"

if [ -n "$health" ]; then
    for _ in $(seq 300); do
        if curl --fail --silent --output /dev/null --max-time 5 "$health"; then
            exit 0
        fi
        sleep 1
    done
    # What the container itself says helps most.
    podman logs --tail 20 "$name" >&2 || true
    echo "$image does not answer at $health" >&2
    exit 1
fi
