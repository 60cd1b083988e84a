#!/bin/bash
# start-master.sh NAME ADDRESS PUBLIC_ADDRESS VERSION POD_NETWORK SERVICE_NETWORK IMAGE_REPOSITORY
# Starts the control plane on this server, and the network that connects pods of different nodes.
set -euo pipefail

name=$1
address=$2
public_address=$3
version=$4
pod_network=$5
service_network=$6
image_repository=$7
here=$(cd "$(dirname "$0")" && pwd)

export KUBECONFIG=/etc/kubernetes/admin.conf

if [ ! -e "$KUBECONFIG" ]; then
    options=(
        --apiserver-advertise-address "$address"
        --apiserver-cert-extra-sans "$public_address"
        --node-name "$name"
        --pod-network-cidr "$pod_network"
        --service-cidr "$service_network"
        --kubernetes-version "$version"
    )
    if [ -n "$image_repository" ]; then
        options+=(--image-repository "$image_repository")
    fi
    if ! kubeadm init "${options[@]}"; then
        # What is half set up would keep the next attempt from starting.
        kubeadm reset --force >&2 || true
        exit 1
    fi
fi

for _ in $(seq 120); do
    if [ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ]; then
        break
    fi
    sleep 1
done
kubectl get --raw /readyz >/dev/null

sed "s|POD_NETWORK|$pod_network|" "$here/pod-network.yaml" >"$here/pod-network.applied.yaml"
kubectl apply -f "$here/pod-network.applied.yaml"
kubectl wait --for=condition=Ready "node/$name" --timeout=300s
