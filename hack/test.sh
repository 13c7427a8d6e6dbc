#!/usr/bin/env bash
# Every test: unit, property, API-level, end-to-end.
set -euo pipefail
cd "$(dirname "$0")/.."
# The containers of the tests run from these images.
cargo run -q -p xtask -- images --out target/images
export PATH="$PWD/target/tools:$PATH"
if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --workspace --no-fail-fast
fi
exec cargo test --workspace --no-fail-fast
