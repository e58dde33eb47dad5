#!/bin/sh
# Makes .venv and installs hamux there with the extra $1: with uv if it is there, else with venv and pip.
# The file .venv/$1, by whose time make knows whether this has to be done again, is written last.
set -eu
extra=$1
python=${PYTHON:-python3}
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() { echo "hamux: $1" >&2; exit 1; }
command -v "$python" >/dev/null || fail "there is no '$python'; name Python 3.11 or newer with: make PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, and '$python' is $("$python" -V 2>&1); name another with: make PYTHON=python3.12"
uv=$(uv --version >/dev/null 2>&1 && echo uv || true)
[ -n "$uv" ] || "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "'$python' comes without venv; install it (on Debian: apt install python3-venv), or install uv"

if ! .venv/bin/python -c '' 2>/dev/null; then
    echo "== making .venv with $("$python" -V)"
    rm -rf .venv
    if [ -n "$uv" ]; then uv venv --quiet --python "$(command -v "$python")" .venv; else "$python" -m venv .venv; fi
fi
echo "== installing hamux and what '$extra' needs into .venv, which takes a minute or two"
if [ -n "$uv" ]; then
    uv pip install --quiet --python .venv/bin/python --editable ".[$extra]"
else
    .venv/bin/python -m pip install --quiet --editable ".[$extra]"
fi
touch ".venv/$extra"
