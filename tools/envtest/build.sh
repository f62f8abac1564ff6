#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kubectl and helm from their public Go modules (go.mod pins them) into the folder that
# KUBEBUILDER_ASSETS names, by default .cache/envtest/bin of this repository. A folder whose stamp matches is left alone.
#
#   tools/envtest/build.sh           build what is missing or stale
#   tools/envtest/build.sh --path    only print the folder
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${KUBEBUILDER_ASSETS:-$root/.cache/envtest/bin}
[[ $bin == /* ]] || bin=$PWD/$bin
if [[ ${1:-} == --path ]]; then
  echo "$bin"
  exit 0
fi

command -v go >/dev/null || {
  echo "tools/envtest/build.sh: go (1.26 or newer) is not installed, and etcd, kube-apiserver, kubectl and helm are built with it" >&2
  exit 1
}

# The toolchain that is here, whatever go.mod of a dependency would rather have: no compiler is downloaded.
export GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0

mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9

stamp=$({ go env GOVERSION GOOS GOARCH; sha256sum <"$here/go.sum"; sha256sum <"$here/go.mod"; sha256sum <"$here/build.sh"; } | sha256sum | cut -c1-64)
complete() {
  local name
  for name in etcd kube-apiserver kubectl helm; do [[ -x $bin/$name ]] || return 1; done
  [[ -f $bin/.stamp && $(<"$bin/.stamp") == "$stamp" ]]
}
if complete; then
  echo "envtest: up to date in $bin"
  exit 0
fi

cd "$here"
version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' go.mod; }
kubernetes=$(version k8s.io/kubernetes)
helm=$(version helm.sh/helm/v3)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
# Kubernetes writes its version into the program by the linker; without it the server would call itself v0.0.0-master.
ldflags="-s -w"
ldflags+=" -X k8s.io/component-base/version.gitVersion=$kubernetes"
ldflags+=" -X k8s.io/component-base/version.gitMajor=$major"
ldflags+=" -X k8s.io/component-base/version.gitMinor=$minor"
ldflags+=" -X k8s.io/component-base/version.gitTreeState=archive"
ldflags+=" -X helm.sh/helm/v3/internal/version.version=$helm"

started=$SECONDS
echo "envtest: building Kubernetes $kubernetes, etcd $(version go.etcd.io/etcd/server/v3), helm $helm with $(go env GOVERSION)"
staging=$(mktemp -d "$bin/.building.XXXXXX")
trap 'rm -rf "$staging"' EXIT
# One go build for all four: they share most of their packages, and the linker of one runs beside the compiler of another.
go build -trimpath -ldflags "$ldflags" -o "$staging/" \
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl go.etcd.io/etcd/server/v3 helm.sh/helm/v3/cmd/helm
mv "$staging/server" "$staging/etcd"
rm -f "$bin/.stamp"
mv -f "$staging"/* "$bin/"
echo "$stamp" >"$bin/.stamp"
echo "envtest: built in $((SECONDS - started)) s into $bin"
