#!/bin/bash
# prepare-host.sh FOLDER MIRROR
# Makes a Debian-like server run containers. An image that brings podman is left as it is, except for the mirror.
set -euo pipefail

folder=$1
mirror=$2

if ! command -v podman >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q install --yes --no-install-recommends podman uidmap slirp4netns netavark aardvark-dns curl ca-certificates
    # Containers with a restart policy come back when the server has been rebooted.
    systemctl enable podman-restart.service
fi

if [ -n "$mirror" ]; then
    mkdir -p /etc/containers/registries.conf.d
    cat >/etc/containers/registries.conf.d/50-chandlery.conf <<END
[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "$mirror"
END
fi

install -d -m 0711 "$folder"
podman --version
