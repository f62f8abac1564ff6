#!/usr/bin/env bash
# Installs the Debian packages that the tests need and this machine lacks; asks no mirror if it lacks none.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
PATH=$PATH:/usr/sbin:/sbin
need ip iproute2
need setpriv util-linux
need prometheus prometheus
need promtool prometheus
need python3 python3
need valgrind valgrind
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if ((${#missing[@]} == 0)); then
  echo "packages: nothing is missing"
  exit 0
fi
command -v apt-get >/dev/null || { echo "packages: missing, and there is no apt-get to install them: ${missing[*]}" >&2; exit 1; }
((EUID == 0)) || { echo "packages: missing, and only root can install them: ${missing[*]}" >&2; exit 1; }
# The tests start their own Prometheus; the package must not start a service beside it.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "${missing[@]}"
