"""A small project of its own for each test, on which the build tool runs as on hamux."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A shell's background ignores Ctrl-C, and so do the children of who ignores it; what is handled, children do not ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

ONE = """# One

> The first module.

```{python}
#| default_exp one
```

```{python}
#| export
import math
```

```{python}
#| exports
#| code-fold: true
def double(x):
    'Two `x`.'
    return 2 * x


def root(x):
    return math.sqrt(x)


def _hidden(x):
    return x
```

Text between.

```{python}
assert double(2) == 4
print("two times", double(3))
```
"""
TESTS = """# Tests of one

```{python}
#| default_exp tests.test_one
```

```{python}
#| export
from hamux.one import double
```

```{python}
#| export
def test_double():
    assert double(4) == 8
```
"""
TWO = """# Two

```{python}
#| default_exp two
```

```{python}
#| exports
from hamux.one import double

def quadruple(x): return double(double(x))
```
"""


class Project:
    """A copy of the tool in an empty folder, with notebooks to be written."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("tests", "__pycache__"))
        for name in ("settings.ini", "pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, root)

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def edit(self, name: str, old: str, new: str) -> None:
        assert self.read(name).count(old) == 1
        self.write(name, self.read(name).replace(old, new))

    def build(self, *args: str, good: bool = True) -> str:
        """What `python -m scripts.build` prints; `good` is whether it should succeed."""
        program = self.start(*args)
        out, _ = program.communicate()
        assert (program.returncode == 0) == good, out
        return out

    def start(self, *args: str) -> subprocess.Popen[str]:
        env = {k: v for k, v in os.environ.items() if k not in ("HAMUX_BUILD", "PYTHONPATH")}
        env["PYTEST_XDIST_AUTO_NUM_WORKERS"] = "0"  # for a single test, no more processes
        command = [sys.executable, "-m", "scripts.build", *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.root, env=env, text=True, start_new_session=True, **pipes)


@pytest.fixture
def project(tmp_path) -> Project:
    made = Project(tmp_path)
    made.write("nbs/references.bib", "")
    made.write("nbs/00_one.qmd", ONE)
    made.write("nbs/tests/one.qmd", TESTS)
    return made
