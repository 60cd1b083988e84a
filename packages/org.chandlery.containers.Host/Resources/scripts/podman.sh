#!/bin/bash
# podman.sh ARGUMENTS...
set -euo pipefail

exec podman "$@"
