#!/usr/bin/env bash
# Builds the image as an OCI layout, without a daemon: static binaries by cargo, layers and SBOM by oci.py.
#
#   deploy/image/build.sh [--arch amd64] [--arch arm64] [--output DIR]
#
# Needs the Rust target of each architecture (rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl), a C
# compiler for ring's assembler (Debian: musl-tools for amd64, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross for arm64),
# python3, and ca-certificates. The same commit, toolchain, CA bundle and SOURCE_DATE_EPOCH (default: the commit's time)
# give the same layers.
#
# Tested: both architectures from end to end, 10.9 MB (amd64) and 10.0 MB (arm64) compressed; both unpacked and run
# as the image's user in a chroot, arm64 under qemu's user emulation; pushed to a registry by skopeo, digests unchanged. Two
# compilations of one commit in two folders, with target folders of their own, gave the same layout byte for byte (amd64).
# Not tested: arm64 on a real machine, two different machines, and the Dockerfile (it needs a daemon and Docker Hub).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

arches=() output=deploy/image/out
while (($#)); do
  case $1 in
    --arch) arches+=("$2"); shift 2 ;;
    --output) output=$2; shift 2 ;;
    *) echo "build.sh: unknown argument $1" >&2; exit 2 ;;
  esac
done
((${#arches[@]})) || arches=(amd64)

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
target_dir=${CARGO_TARGET_DIR:-target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo"

images=()
for arch in "${arches[@]}"; do
  case $arch in
    amd64) triple=x86_64-unknown-linux-musl ;;
    arm64)
      triple=aarch64-unknown-linux-musl
      # The C library is Rust's own copy of musl; of this compiler only code generation and the linker are used.
      export CC_aarch64_unknown_linux_musl=${CC_aarch64_unknown_linux_musl:-aarch64-linux-gnu-gcc}
      export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER:-aarch64-linux-gnu-gcc}
      ;;
    *) echo "build.sh: no such architecture: $arch (amd64, arm64)" >&2; exit 2 ;;
  esac
  cargo build --release --locked --package cni-metrics-helper --target "$triple"
  images+=("$arch=$target_dir/$triple/release/cni-metrics-helper")
done

python3 deploy/image/oci.py --version "v$version" --output "$output" \
  --ca-bundle "${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "${images[@]}"
