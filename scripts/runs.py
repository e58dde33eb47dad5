"""Runs the notebooks of `_build/`, and tells a failure in lines of the `.qmd` file."""

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import nbformat
from nbformat import NotebookNode

from scripts.project import BUILD, PACKAGE, Books, BuildError, code, contents, ipynb, nbdev, run

PASSED = BUILD / "passed.json"  # the key with which each notebook last passed


def test(books: Books) -> list[Path]:
    """Runs stock `nbdev_test` on each of `books` that has changed since it passed; gives those that fail."""
    keys = {o: key(nb) for o, nb in books.items()}
    todo = changed(keys)

    def judge(source: Path) -> CompletedProcess[str]:
        done = run("nbdev_test", "--path", ipynb(source))
        if done.returncode == 0 and "Success." not in done.stdout:  # nbdev_test is content with no notebook at all
            return CompletedProcess(done.args, 1, done.stdout, f"nbdev_test ran nothing: {done.stdout}{done.stderr}")
        return done

    failed = each(books, judge, lambda o: o not in todo)
    remember(keys, failed)
    return failed


def prepare(books: Books) -> list[Path]:
    """Runs stock `nbdev_prepare`, unless no notebook has changed since it passed; gives those that fail."""
    keys = {o: key(nb) for o, nb in books.items()}
    if not changed(keys):
        return []
    print(f"  nbdev_prepare: running {len(books)} notebooks, which takes minutes", flush=True)
    done = nbdev("nbdev_prepare", books)
    failed = []
    for report in re.split(r"^(?=\w+ in \S+\.ipynb:\n=+\n)", done.stderr, flags=re.M):
        for source in (o for o in books if f" in {ipynb(o)}:" in report.partition("\n")[0]):
            failed.append(source)
            print(explain(report, source, books[source]))
    if done.returncode and not failed:
        raise BuildError(f"nbdev_prepare failed:\n{done.stderr}")
    remember(keys, failed)
    return failed


def changed(keys: dict[Path, str]) -> list[Path]:
    """The notebooks that last passed with another key than this, or never."""
    passed = json.loads(PASSED.read_text()) if PASSED.exists() else {}
    return [o for o, k in keys.items() if passed.get(str(o)) != k]


def remember(keys: dict[Path, str], failed: list[Path]) -> None:
    passed = json.loads(PASSED.read_text()) if PASSED.exists() else {}
    passed |= {str(o): None if o in failed else k for o, k in keys.items()}
    PASSED.write_text(json.dumps(passed, indent=1))


def execute(books: Books) -> list[Path]:
    """Fills in the outputs of each of `books`, where they are not there already; gives those that failed."""
    keys = {o: key(nb) for o, nb in books.items()}

    def fill(source: Path) -> CompletedProcess[str]:
        done = run(sys.executable, "-m", "scripts.run_notebook", ipynb(source))
        if done.returncode == 0:
            nb = nbformat.read(ipynb(source), as_version=4)
            nb.metadata["executed"] = keys[source]
            ipynb(source).write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
        return done

    return each(books, fill, lambda o: books[o].metadata.get("executed") == keys[o])


def each(books: Books, command: Callable[[Path], CompletedProcess[str]], done: Callable[[Path], bool]) -> list[Path]:
    """Runs `command` on those of `books` that are not `done`, two or more at a time; prints a line for each."""

    def one(source: Path) -> bool:
        if done(source):
            print(f"  {source}  unchanged since it passed", flush=True)
            return True
        start = time.time()
        result = command(source)
        took = f"{time.time() - start:.0f} s"
        if result.returncode == 0:
            print(f"  {source}  passed in {took}", flush=True)
        else:
            print(f"  {source}  FAILED in {took}\n{explain(result.stderr, source, books[source])}", flush=True)
        return result.returncode == 0

    with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)) as pool:
        return [o for o, good in zip(books, pool.map(one, books)) if not good]


def key(nb: NotebookNode) -> str:
    """What the outcome of `nb` depends on: its code, the package, and all that is installed."""
    package = {k: v for k, v in contents(PACKAGE).items() if k != "_modidx.py" and not k.startswith("tests/")}
    sources = [c.source for c in code(nb)] + [f"{k}\n{v.decode()}" for k, v in sorted(package.items())]
    return hashlib.sha256(json.dumps([sys.version, installed(), sources]).encode()).hexdigest()[:16]


@functools.cache
def installed() -> list[str]:
    return sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())


def explain(report: str, source: Path, nb: NotebookNode) -> str:
    """nbdev's `report` on a failed notebook: frames of the notebook, in lines of the `.qmd` file, and of hamux only."""
    from IPython.core.compilerop import code_name
    from IPython.core.inputtransformer2 import TransformerManager

    begins = {}  # the line of the .qmd at which begins what the traceback calls <ipython-input-...>
    for cell in code(nb):
        for ran in (cell.source, without_directives(cell)):
            name = code_name(TransformerManager().transform_cell(ran), 1)
            begins[name] = cell.metadata.qmd.line + cell.source.count("\n") - ran.count("\n")
    line = 1

    def frame(m: re.Match[str]) -> str:
        nonlocal line
        file, at, rest = m[1], int(m[2]), m[3]
        if file in begins:
            line = at + begins[file] - 1
            return f'  File "{source}", line {line}{rest}'
        return m[0].replace(f"{BUILD}/", "") if file.startswith(str(PACKAGE)) else ""

    report = report.partition("\nnbdev Tests Failed")[0].rstrip() + "\n"
    kind, trace = report.partition(" ")[0], report[report.find("Traceback") :]
    trace = re.sub(r' +File "([^"]+)", line (\d+)(.*\n(?:    .*\n)*)', frame, trace).rstrip()
    message = re.findall(rf"^(?:\w+\.)*{re.escape(kind)}\b.*", trace, re.M) or [trace]
    return f"{source}:{line}: {message[-1]}\n{trace}"


def without_directives(cell: NotebookNode) -> str:
    """The source of `cell` as `nbdev_test` runs it."""
    from execnb.nbio import NbCell
    from nbdev.process import extract_directives

    copy = NbCell(0, {"cell_type": "code", "source": cell.source})
    extract_directives(copy)
    return copy.source
