"""A simulated Kubernetes: API server with controllers, kubelet with service proxy, kubeadm and kubectl."""

VERSION = "v1.31.4"  # what it calls itself unless kubeadm is told another one
