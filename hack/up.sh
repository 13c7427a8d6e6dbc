#!/usr/bin/env bash
# Starts the cluster, imports the demo images, applies the guestbook and prints its page.
set -euo pipefail
gantry=$1 images=$2
cd "$(dirname "$0")/.."
export PATH="$PWD/target/tools:$PATH"
config_dir=${GANTRY_CONFIG_DIR:-/etc/gantry}
log=${GANTRY_LOG:-target/gantry.log}

if ! "$gantry" status --ready >/dev/null 2>&1; then
  setsid "$gantry" up >"$log" 2>&1 </dev/null &
  pid=$!
  until "$gantry" status --ready >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || { tail -20 "$log" >&2; exit 1; }
    read -rt 0.2 <> <(:) || true
  done
fi
for image in redis guestbook nginx; do
  "$gantry" image import "$images/$image.tar"
done
export KUBECONFIG="$config_dir/kubeconfig.yaml"
kubectl apply -f examples/guestbook/guestbook.yaml
for deployment in redis app front; do
  kubectl -n guestbook rollout status "deployment/$deployment" --timeout=120s
done
address=$(kubectl -n guestbook get service front -o jsonpath='{.spec.clusterIP}')
curl --fail --silent --show-error --data-urlencode 'message=Hello from make up' "http://$address/" >/dev/null || true
curl --fail --silent --show-error "http://$address/"
echo
echo "The cluster runs. Use it with: export KUBECONFIG=$KUBECONFIG"
