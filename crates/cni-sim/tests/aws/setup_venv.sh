#!/bin/sh
# Creates the Python environment of the AWS client tests in .cache/py at the repository's root (ignored by git).
# Re-run it after requirements.txt changed; it does nothing when the environment is already complete.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
venv=${CNI_SIM_VENV:-$root/.cache/py}
if [ -x "$venv/bin/python" ] && cmp -s "$here/requirements.txt" "$venv/requirements.installed"; then
    echo "$venv is complete"
    exit 0
fi
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/requirements.txt" "$venv/requirements.installed"
echo "$venv is ready"
