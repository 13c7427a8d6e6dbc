#!/usr/bin/env bash
# The client libraries that tests tour the API with, for Python and JavaScript. Asks the network for
# nothing when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
clients=target/clients

missing=()
command -v node >/dev/null 2>&1 || missing+=(nodejs)
command -v npm >/dev/null 2>&1 || [ -d "$clients/node" ] || missing+=(npm)
[ ${#missing[@]} -eq 0 ] || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; }

if [ ! -d "$clients/python" ]; then
  rm -rf "$clients/python.partial"
  pip install -q --disable-pip-version-check --root-user-action=ignore --target "$clients/python.partial" 'kubernetes==35.*'
  mv "$clients/python.partial" "$clients/python"
fi
if [ ! -d "$clients/node" ]; then
  rm -rf "$clients/node.partial"
  mkdir -p "$clients/node.partial"
  npm install --silent --no-audit --no-fund --prefix "$clients/node.partial" '@kubernetes/client-node@1.4'
  mv "$clients/node.partial" "$clients/node"
fi
