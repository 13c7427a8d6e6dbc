#!/usr/bin/env bash
# Makes the profile that release builds are laid out by: a server that counts what it runs through serves what
# `make bench` asks for, of a generator that counts as well. What is not run through there is compiled as if there
# were no profile.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/profile
raw=$work/raw

counting() {
  # What runs while this is built (build scripts, macros) counts for nothing.
  LLVM_PROFILE_FILE=/dev/null RUSTFLAGS="-Cprofile-generate=$raw" cargo build --release --target-dir "$work/counting" "$@"
}
# One after the other, as release builds are made: together they would have other features.
counting -p gantry
counting -p xtask
cargo run -q -p xtask -- images --out target/images
rm -rf "$raw"
# Who counts is slow: the budgets are not asked of it.
"$work/counting/release/xtask" bench --gantry "$work/counting/release/gantry" --pods 8000 $([ "$(id -u)" != 0 ] || echo --node)

rustup component add llvm-tools
host=$(rustc -vV | sed -n 's/^host: //p')
"$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" merge -sparse -o "$work/new.profdata" "$raw"
# Without the time, so that the same counts are the same file.
gzip -9nc "$work/new.profdata" >profile/gantry.profdata.gz
rustc --version >profile/rustc
ls -l profile
