#!/bin/sh
# Makes .venv and installs hamux there with the extra $1, with uv if it is there, else with venv and pip. Does nothing
# where that is done: .venv/$1 is written last, and is older than pyproject.toml when that changes. A .venv that was
# never finished is made anew, and so is one of another Python than PYTHON names.
set -eu
extra=$1
python=${PYTHON:-python3}
unfinished=_build/unfinished
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() { echo "hamux: $1" >&2; exit 1; }
known() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null || echo none; }

if [ -e .venv ]; then
    old=$(known .venv/bin/python)
    if [ "$old" = none ] || [ -e $unfinished ] || { [ -n "${PYTHON:-}" ] && [ "$old" != "$(known "$python")" ]; }; then
        command -v "$python" >/dev/null || fail "there is no '$python'"
        echo "== removing .venv, which was never finished or is of another Python"
        rm -rf .venv
    elif [ -e ".venv/$extra" ] && [ -z "$(find pyproject.toml -newer ".venv/$extra")" ]; then
        exit 0
    fi
fi
uv=$(uv --version >/dev/null 2>&1 && echo uv || true)
if ! [ -e .venv ]; then
    command -v "$python" >/dev/null || fail "there is no '$python'; name Python 3.11 or newer with: make PYTHON=..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed, and '$python' is $("$python" -V 2>&1); name another with: make PYTHON=python3.12"
    [ -n "$uv" ] || "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "'$python' comes without venv; install it (on Debian: apt install python3-venv), or install uv"
    echo "== making .venv with $("$python" -V)"
    mkdir -p _build && touch $unfinished
    if [ -n "$uv" ]; then uv venv --quiet --python "$(command -v "$python")" .venv; else "$python" -m venv .venv; fi
fi
echo "== installing hamux and what '$extra' needs into .venv, which takes a minute or two"
if [ -n "$uv" ]; then
    uv pip install --quiet --python .venv/bin/python --editable ".[$extra]"
else
    .venv/bin/python -m pip install --quiet --editable ".[$extra]"
fi
touch ".venv/$extra"
rm -f $unfinished
