#!/bin/bash
# remove-container.sh FOLDER NAME
set -euo pipefail

podman rm --force --ignore "$2"
rm -rf -- "${1:?a folder is needed}/${2:?a container name is needed}"
