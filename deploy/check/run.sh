#!/usr/bin/env bash
# Runs a script of this folder in its own Python environment, .cache/check, which the first run creates (from PyPI).
#   deploy/check/run.sh aws.py target/debug/cni-metrics-helper
#   deploy/check/run.sh image.py [LAYOUT]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
env=$(cd "$here/../.." && pwd)/.cache/check
if ! cmp -s "$here/requirements.txt" "$env/requirements.txt"; then
  python3 -m venv --clear "$env"
  "$env/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$env/"
fi
script=$1
shift
exec "$env/bin/python" "$here/$script" "$@"
