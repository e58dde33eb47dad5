"""Runs one notebook of `_build/` as `nbdev_test` does and keeps its outputs, which `nbdev_test` does not.

python -m scripts.run_notebook _build/nbs/00_core.ipynb
"""

import os
import sys
from pathlib import Path

from execnb.nbio import NbCell, nb2str, read_nb
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.process import extract_directives


def run(path: Path) -> bool:
    """Executes `path` in place; a failure is printed the way that `nbdev_test` prints it."""
    os.chdir(path.parent)  # notebooks are run, and nbdev finds its settings, from here
    flags = set(get_config().tst_flags.split())

    def skipped(cell: NbCell) -> bool:
        found = extract_directives(cell, remove=False) if cell.cell_type == "code" else {}
        return found.get("eval:", [""])[0].lower() == "false" or not flags.isdisjoint(found)

    nb = read_nb(path)
    shell = CaptureShell(path)
    try:
        shell.run_all(nb, exc_stop=True, preproc=skipped)
    except BaseException:
        print(shell.prettytb(path), file=sys.stderr)
        return False
    path.write_text(nb2str(nb), encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(not run(Path(sys.argv[1]).resolve()))
