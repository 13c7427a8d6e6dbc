#!/usr/bin/env bash
# A cluster on this machine that runs the guestbook; ends with the page that its Service answers.
# What runs from an earlier time is replaced by what was built now, and its pods are taken over.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "make up: containers and pod networks are made by root; run it as root" >&2; exit 1; }

gantry=target/release/gantry
images=target/images
"$gantry" up --background --replace
KUBECONFIG=$("$gantry" kubeconfig --path)
export KUBECONFIG
"$gantry" image import "$images"/{nginx,redis,guestbook}.tar

kubectl() { target/tools/kubectl "$@"; }
kubectl apply -f examples/guestbook/guestbook.yaml
for tier in redis app front; do
  kubectl -n guestbook rollout status "deployment/$tier" --timeout=180s || {
    echo "make up: the guestbook does not run; what the cluster says of it:" >&2
    kubectl get events --all-namespaces --field-selector type=Warning >&2
    exit 1
  }
done
front=$(kubectl -n guestbook get service front -o 'jsonpath={.spec.clusterIP}:{.spec.ports[0].port}')
echo
echo "The page of the guestbook, through its Service at http://$front/:"
curl --silent --show-error --fail --noproxy '*' "http://$front/"
echo
echo "Use the cluster with: export KUBECONFIG=$KUBECONFIG"
