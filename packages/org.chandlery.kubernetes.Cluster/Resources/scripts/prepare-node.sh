#!/bin/bash
# prepare-node.sh VERSION PACKAGE_MIRROR REGISTRY_MIRROR
# Makes a Debian-like server ready for kubeadm. An image that brings kubeadm is taken to be prepared: kernel modules,
# container runtime and kubelet are left as they are, and only the mirror is set.
set -euo pipefail

version=$1
package_mirror=${2%/}
registry_mirror=$3

install_runtime() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q install --yes --no-install-recommends ca-certificates containerd conntrack curl gnupg iptables socat

    mkdir -p /etc/containerd
    # kubeadm sets the kubelet to systemd's cgroup driver, and Kubernetes' own packages put the CNI plug-ins into /opt.
    containerd config default |
        sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' \
            -e 's|bin_dir = "/usr/lib/cni"|bin_dir = "/opt/cni/bin"|' \
            -e "s|config_path = ['\"]['\"]|config_path = \"/etc/containerd/certs.d\"|" >/etc/containerd/config.toml
    systemctl enable containerd
    systemctl restart containerd
}

prepare_kernel() {
    printf 'overlay\nbr_netfilter\n' >/etc/modules-load.d/kubernetes.conf
    modprobe overlay
    modprobe br_netfilter
    cat >/etc/sysctl.d/90-kubernetes.conf <<END
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.ipv4.ip_forward = 1
END
    sysctl --quiet --system
    # The kubelet refuses to start beside swap.
    swapoff --all
    sed -i '/^[^#].*\sswap\s/s/^/#/' /etc/fstab
}

install_kubernetes() {
    local minor=${version%.*}
    local packages="$package_mirror/v$minor/deb"

    mkdir -p /etc/apt/keyrings
    curl --fail --silent --show-error --location "$packages/Release.key" |
        gpg --dearmor --yes --output /etc/apt/keyrings/kubernetes.gpg
    echo "deb [signed-by=/etc/apt/keyrings/kubernetes.gpg] $packages/ /" >/etc/apt/sources.list.d/kubernetes.list
    apt-get -q update
    apt-get -q install --yes "kubelet=$version-*" "kubectl=$version-*" "kubeadm=$version-*"
    apt-mark hold kubelet kubeadm kubectl
    systemctl enable kubelet
}

# kubeadm comes last: a run that was interrupted before starts anew.
if ! command -v kubeadm >/dev/null; then
    install_runtime
    prepare_kernel
    install_kubernetes
fi

if [ -n "$registry_mirror" ]; then
    url="https://$registry_mirror"
    override=false
    if [ "$registry_mirror" != "${registry_mirror%%/*}" ]; then
        # The API of a registry below a path is found at /v2/<path>.
        url="https://${registry_mirror%%/*}/v2/${registry_mirror#*/}"
        override=true
    fi
    mkdir -p /etc/containerd/certs.d/docker.io
    cat >/etc/containerd/certs.d/docker.io/hosts.toml <<END
server = "https://registry-1.docker.io"

[host."$url"]
  capabilities = ["pull", "resolve"]
  override_path = $override
END
fi

kubeadm version --output short
