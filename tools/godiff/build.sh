#!/usr/bin/env bash
# Builds godiff, which runs the original ipamd (go.mod pins its public module) in virtual time, into the folder that GODIFF_BIN
# names, by default .cache/godiff/bin of this repository. A folder whose stamp matches is left alone.
#
#   tools/godiff/build.sh           build it if it is missing or stale
#   tools/godiff/build.sh --path    only print the folder
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${GODIFF_BIN:-$root/.cache/godiff/bin}
[[ $bin == /* ]] || bin=$PWD/$bin
if [[ ${1:-} == --path ]]; then
  echo "$bin"
  exit 0
fi

command -v go >/dev/null || {
  echo "tools/godiff/build.sh: go (1.26 or newer) is not installed, and godiff is built with it" >&2
  exit 1
}

# The toolchain that is here, whatever go.mod of a dependency would rather have: no compiler is downloaded.
export GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0

mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9

stamp=$({
  go env GOVERSION GOOS GOARCH
  cd "$here"
  find . -type f ! -name '*.md' | LC_ALL=C sort | xargs sha256sum
} | sha256sum | cut -c1-64)
if [[ -x $bin/godiff && -f $bin/.stamp && $(<"$bin/.stamp") == "$stamp" ]]; then
  echo "godiff: up to date in $bin"
  exit 0
fi

cd "$here"
started=$SECONDS
version=$(awk '$1 == "github.com/aws/amazon-vpc-cni-k8s" { print $2; exit }' go.mod)
echo "godiff: building the original ipamd $version into it with $(go env GOVERSION)"
unformatted=$(gofmt -l .)
[[ -z $unformatted ]] || { echo "tools/godiff/build.sh: not as gofmt writes it: $unformatted" >&2; exit 1; }
go vet -trimpath ./...
staging=$(mktemp -d "$bin/.building.XXXXXX")
trap 'rm -rf "$staging"' EXIT
go build -trimpath -ldflags "-s -w -checklinkname=0" -o "$staging/godiff" .
rm -f "$bin/.stamp"
mv -f "$staging/godiff" "$bin/godiff"
echo "$stamp" >"$bin/.stamp"
echo "godiff: built in $((SECONDS - started)) s into $bin"
