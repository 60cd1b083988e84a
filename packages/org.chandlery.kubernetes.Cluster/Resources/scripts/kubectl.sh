#!/bin/bash
# kubectl.sh ARGUMENTS...
# Runs kubectl on the master as the administrator.
set -euo pipefail

export KUBECONFIG=/etc/kubernetes/admin.conf
exec kubectl "$@"
