"""Runs notebooks and their tests, those alone that may come out differently than before."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree

import nbformat

from scripts.needs import Needs
from scripts.project import (
    BUILD,
    ENV,
    PACKAGE,
    ROOT,
    Books,
    BuildError,
    cells,
    file_of,
    ipynb,
    located,
    modules,
    run,
    text,
)

PASSED = BUILD / "passed.json"  # for each module of tests the key with which it passed, and the number of its tests
# nbdev's own processing for readers: API entries come, hidden cells go, names in backticks become links.
PROCESS = "from sys import argv; from pathlib import Path; from nbdev.processors import FilterDefaults; "
PROCESS += "from nbdev.serve_drv import main; main((Path(argv[1]), Path(argv[2]), FilterDefaults))"


def execute(books: Books, picked: Books) -> list[Path]:
    """Runs those pages of `picked` whose outputs are not there already; gives those that failed."""
    needs = Needs(books)
    wanted = {o: needs.key(cells(nb)) for o, nb in picked.items()}
    todo = [o for o, nb in picked.items() if nb.metadata.get("executed") != wanted[o]]
    if len(todo) < len(picked):
        print(f"  {len(picked) - len(todo)} of {len(picked)} unchanged since they passed", flush=True)

    def fill(source: Path) -> CompletedProcess[str]:
        done = run(sys.executable, "-m", "scripts.run_notebook", source, wanted[source], cwd=ROOT)
        if done.returncode == 0:
            books[source] = nbformat.read(ipynb(source), as_version=4)
        return done

    return each("passed", todo, fill, books)


def process(picked: Books) -> None:
    """Lets nbdev make what has changed of `picked` ready for readers, in `_build/_proc/`."""
    stamps = BUILD / "processed.json"
    before = json.loads(stamps.read_text()) if stamps.exists() else {}
    links = (PACKAGE / "_modidx.py").read_bytes() + (ROOT / "scripts/showdoc.py").read_bytes()
    after = {str(o): hashlib.sha256(text(nb) + links).hexdigest() for o, nb in picked.items()}

    def fill(source: Path) -> CompletedProcess[str]:
        processed(source).parent.mkdir(exist_ok=True)
        return run(sys.executable, "-c", PROCESS, ipynb(source), processed(source), cwd=BUILD / "nbs")

    todo = [o for o in picked if before.get(str(o)) != after[str(o)] or not processed(o).exists()]
    if failed := each("processed", todo, fill, picked):
        raise BuildError(f"nbdev could not process {', '.join(map(str, failed))}")
    stamps.write_text(json.dumps(before | after, indent=1))


def processed(source: Path) -> Path:
    return BUILD / "_proc" / source.relative_to("nbs").with_suffix(".ipynb")


def each(what: str, todo: list[Path], command: Callable[[Path], CompletedProcess[str]], books: Books) -> list[Path]:
    """Runs `command` on notebooks, two or more at a time, and prints a line for each; gives those that failed."""

    def one(source: Path) -> bool:
        start = time.time()
        done = command(source)
        if done.returncode == 130:  # Ctrl-C, which has reached us, too
            return False
        took = f"in {time.time() - start:.0f} s"
        report = f"FAILED {took}\n{located(done.stderr, books).rstrip()}" if done.returncode else f"{what} {took}"
        print(f"  {source}  {report}", flush=True)
        return done.returncode == 0

    with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)) as pool:
        try:
            return [o for o, good in zip(todo, pool.map(one, todo)) if not good]
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def test(books: Books, picked: Books) -> tuple[int, int]:
    """Runs those test modules of `picked` that have changed since they passed; counts all."""
    needs = Needs(books)
    shared = needs.modules.get("tests.conftest", [])
    wanted = {o: needs.key([*found, *shared]) for o, found in modules(picked).items() if o.startswith("tests.test_")}
    passed = json.loads(PASSED.read_text()) if PASSED.exists() else {}
    kept = [passed[o][1] for o in wanted if o in passed and passed[o][0] == wanted[o]]
    todo = {f"hamux.{o}": o for o in wanted if o not in passed or passed[o][0] != wanted[o]}
    if kept:
        print(f"  {sum(kept)} tests are unchanged since they passed", flush=True)
    good, bad = pytest("exported", [file_of(o) for o in todo.values()], BUILD, books) if todo else (Counter(), Counter())
    passed |= {o: (wanted[o], good[name]) for name, o in todo.items() if good[name] and not bad[name]}
    PASSED.write_text(json.dumps(passed, indent=1))
    return good.total() + sum(kept), bad.total()


def pytest(name: str, files: Iterable[Path], cwd: Path, books: Books) -> tuple[Counter[str], Counter[str]]:
    """Runs pytest and counts what passes and what fails in each module; nothing to run is a failure."""
    report = BUILD / f"pytest-{name}.xml"
    report.unlink(missing_ok=True)
    cores = ["--numprocesses=logical", "--maxprocesses=4"]
    code = show("pytest", "-q", *cores, f"--junitxml={report}", *map(str, files), cwd=cwd, books=books)
    good, bad = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        module = ".".join(case.get("classname", "").split(".")[:3])  # without the class
        how = {o.tag for o in case}
        good[module] += not how & {"failure", "error", "skipped"}
        bad[module] += bool(how & {"failure", "error"})
    bad["pytest"] += bool(code) and not bad.total()
    return good, bad


def show(*command: str, cwd: Path, books: Books) -> int:
    """Runs a Python program and prints what it says, with places in hamux/ as those in the notebooks."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([sys.executable, "-m", *command], cwd=cwd, env=ENV, text=True, **pipe) as program:
        for line in program.stdout:
            print(located(line, books), end="", flush=True)
    return program.returncode
