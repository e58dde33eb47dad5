"""Runs one notebook of `_build/` as `nbdev_test` does, and keeps its outputs, which `nbdev_test` does not.

python -m scripts.run_notebook nbs/00_core.qmd KEY
"""

import ast
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


class Shift(ast.NodeTransformer):
    """Gives the code of a cell the lines that it has in the notebook."""

    line = 1

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.increment_lineno(node, self.line - 1)


def run(source: Path, key: str) -> bool:
    """Executes `source`; its outputs go into `_build/`, what fails to the standard error stream."""
    nb = nbformat.read(ipynb(source), as_version=4)
    os.chdir(ipynb(source).parent)  # notebooks are run, and nbdev finds its settings, from here
    unwanted, shift = get_config().tst_flags.split(), Shift()
    shell = CaptureShell(ipynb(source))
    shell.compile.cache = lambda *_, **__: str(ROOT / source)  # the file that tracebacks name
    shell.ast_transformers.append(shift)
    # A warning that a reader would see is an error; what Python itself hides stays hidden.
    warnings.simplefilter("error", append=True)
    warnings.filterwarnings("error", module="__main__")
    warnings.filterwarnings("ignore", module="IPython")  # which warns of a cell that exits, too
    for cell in cells(nb):
        options = nbs.directives(cell)
        if options.get("eval") != ["false"] and options.keys().isdisjoint(unwanted):
            shift.line = cell.metadata.qmd.line
            cell.outputs = nbformat.from_dict(shell.run(cell.source))
            if isinstance(shell.exc, KeyboardInterrupt):
                raise shell.exc
            if shell.exc is not None:
                print(failure(shell.exc, source, shift.line), file=sys.stderr)
                return False
    clean_nb(nb, allowed_metadata_keys=["qmd"], allowed_cell_metadata_keys=["qmd"])
    nb.metadata["executed"] = key
    ipynb(source).write_bytes(text(nb))
    return True


def failure(error: BaseException, source: Path, cell: int) -> str:
    """What went wrong, by the line of the notebook, with those frames of its traceback that are in the project."""
    file = str(ROOT / source)
    if isinstance(error, SyntaxError) and error.filename == file:  # which was found before the lines were shifted
        error.lineno = (error.lineno or 1) + cell - 1
    told = traceback.TracebackException.from_exception(error)
    lines = [frame.lineno for frame in told.stack if frame.filename == file]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    message = (error.msg if isinstance(error, SyntaxError) else str(error)).partition("\n")[0]
    chain = told
    while chain:
        chain.stack = traceback.StackSummary.from_list(
            [o for o in chain.stack if o.filename == file or o.filename.startswith(str(PACKAGE))]
        )
        chain = chain.__cause__ or chain.__context__
    trace = "".join(told.format()).replace(f"{PACKAGE.parent}/", "").replace(f"{ROOT}/", "").rstrip()
    return f"{source}:{lines[-1] if lines else cell}: {type(error).__name__}: {message}\n{trace}"


if __name__ == "__main__":
    try:
        sys.exit(not run(Path(sys.argv[1]), sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
