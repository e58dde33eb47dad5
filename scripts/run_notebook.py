"""Runs one notebook of `_build/` as `nbdev_test` does, and keeps its outputs, which `nbdev_test` does not.

python -m scripts.run_notebook nbs/00_core.qmd
"""

import os
import sys
import traceback
import warnings
from pathlib import Path

import nbformat
from execnb.shell import CaptureShell
from nbdev.clean import clean_nb
from nbdev.config import get_config

from scripts import nbs
from scripts.project import PACKAGE, ROOT, cells, ipynb, text


def run(source: Path) -> bool:
    """Executes `source`; its outputs go into `_build/`, what fails to the standard error stream."""
    nb = nbformat.read(ipynb(source), as_version=4)
    os.chdir(ipynb(source).parent)  # notebooks are run, and nbdev finds its settings, from here
    unwanted = get_config().tst_flags.split()
    shell = CaptureShell(ipynb(source))
    shell.compile.cache = lambda *_, **__: str(ROOT / source)  # the file that tracebacks name
    # A warning that a reader would see is an error; what Python itself hides stays hidden.
    warnings.simplefilter("error", append=True)
    warnings.filterwarnings("error", module="__main__")
    warnings.filterwarnings("ignore", module="IPython")  # which warns of a cell that exits, too
    for cell in cells(nb):
        options = nbs.directives(cell)
        if options.get("eval") == ["false"] or not options.keys().isdisjoint(unwanted):
            continue
        above = "#\n" * (cell.metadata.qmd.line - 1)  # for code has the lines that it has in the notebook
        cell.outputs = nbformat.from_dict(shell.run(above + cell.source))
        if isinstance(shell.exc, KeyboardInterrupt):
            raise shell.exc
        if shell.exc is not None:
            print(failure(shell.exc, source, cell.metadata.qmd.line), file=sys.stderr)
            return False
    clean_nb(nb, allowed_metadata_keys=["qmd"], allowed_cell_metadata_keys=["qmd"])
    ipynb(source).write_bytes(text(nb))
    return True


def failure(error: BaseException, source: Path, line: int) -> str:
    """What went wrong, by the line of the notebook, with those frames of its traceback that are in the project."""
    file, told = str(ROOT / source), traceback.TracebackException.from_exception(error)
    lines = [line, *(frame.lineno for frame in told.stack if frame.filename == file)]
    message = str(error).partition("\n")[0]
    if isinstance(error, SyntaxError):
        lines, message = [*lines, error.lineno], error.msg
    part = told
    while part:
        kept = [o for o in part.stack if o.filename == file or o.filename.startswith(str(PACKAGE))]
        part.stack = traceback.StackSummary.from_list(kept)
        part = part.__cause__ or part.__context__
    trace = "".join(told.format()).replace(f"{PACKAGE.parent}/", "").replace(f"{ROOT}/", "").rstrip()
    return f"{source}:{lines[-1]}: {type(error).__name__}: {message}\n{trace}"


if __name__ == "__main__":
    try:
        sys.exit(not run(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(130)
