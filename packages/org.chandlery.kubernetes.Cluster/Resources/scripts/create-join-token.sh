#!/bin/bash
# create-join-token.sh
# Prints the command with which a node joins, good for two hours.
set -euo pipefail

export KUBECONFIG=/etc/kubernetes/admin.conf
exec kubeadm token create --ttl 2h --print-join-command
