"""`scripts/setup.sh`, with a stand-in for uv that installs nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "setup.sh"
UV = """#!/bin/sh
case $1 in
    venv) exec "$4" -m venv --without-pip .venv ;;
    pip) exec test ! -e no-network ;;
esac
"""
OTHER = """#!/bin/sh
case "$2" in
    *base_prefix*) echo another Python ;;
    *) exec "$REAL" "$@" ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    for name, text in {"uv": UV, "other": OTHER}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(extra: str = "dev", good: bool = True, **env: str) -> str:
        env = os.environ | {"PATH": path, "REAL": sys.executable, "PYTHON": ""} | env
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(["sh", str(SCRIPT), extra], cwd=tmp_path, env=env, text=True, **pipes)
        assert (done.returncode == 0) == good, done.stdout
        return done.stdout

    return run


def test_what_is_done_is_not_done_again(setup, tmp_path):
    assert "making" in setup() and setup() == ""
    out = setup("examples")
    assert "making" not in out and "'examples'" in out and setup() == setup("examples") == ""
    os.utime(tmp_path / "pyproject.toml", (2**32, 2**32))
    assert "making" not in setup() and (tmp_path / ".venv/dev").exists()


def test_an_interrupted_first_run(setup, tmp_path):
    (tmp_path / "no-network").touch()
    setup(good=False)
    assert (tmp_path / ".venv/bin/python").exists()
    (tmp_path / "no-network").unlink()
    out = setup()
    assert "removing" in out and "making" in out and setup() == ""


def test_a_venv_whose_python_is_gone(setup, tmp_path):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    assert "removing" in setup() and setup() == ""


def test_a_venv_of_your_own_is_kept(setup, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    assert "removing" not in setup()


def test_another_python(setup):
    setup()
    assert setup(PYTHON=sys.executable) == ""
    out = setup(PYTHON="other")
    assert "removing" in out and "making" in out


def test_no_python(setup, tmp_path):
    assert "there is no 'python9'" in setup(good=False, PYTHON="python9")
    setup()
    assert "there is no 'python9'" in setup(good=False, PYTHON="python9")
    assert (tmp_path / ".venv/dev").exists()
