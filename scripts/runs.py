"""Runs notebooks and tests, those alone that may come out differently than before."""

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import nbformat

from scripts.needs import Needs
from scripts.project import ROOT, Books, cells, file_of, ipynb, is_test, located, own_module, run, text, write

Count = tuple[int, int]  # passed, failed


def execute(books: Books, picked: Books) -> Count:
    """Runs those of `picked` whose outcome is not known: pages cell by cell, and with pytest the module that a notebook
    of tests exports. What passes is marked in `_build/`, where pages keep their outputs, too."""
    needs = Needs(books)

    def key(source: Path) -> str:
        more = needs.modules.get("tests.conftest", []) if is_test(source) else []
        chosen = os.environ.get("PYTEST_ADDOPTS", "") if is_test(source) else ""
        return needs.key([*cells(picked[source]), *more]) + chosen

    def one(source: Path) -> Count:
        start = time.time()
        if is_test(source):
            module = file_of(own_module(picked[source]) or "")
            done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", module)
        else:
            done = run(sys.executable, "-m", "scripts.run_notebook", source, cwd=ROOT)
        passed, failed = tally(done)
        took = f"in {time.time() - start:.0f} s"
        if done.returncode == 0:
            nb = books[source] = nbformat.read(ipynb(source), as_version=4)
            nb.metadata |= {"executed": wanted[source], "passed": passed}
            write(ipynb(source), text(nb))
            print(f"  {source}  {f'{passed} passed' if is_test(source) else 'passed'} {took}", flush=True)
        elif done.returncode != 130:  # Ctrl-C, which has reached us, too
            print(f"  {source}  FAILED {took}\n{located(done.stdout + done.stderr, books).rstrip()}", flush=True)
        return passed, failed

    wanted = {source: key(source) for source in picked}
    known = [nb.metadata["passed"] for o, nb in picked.items() if nb.metadata.get("executed") == wanted[o]]
    todo = [o for o, nb in picked.items() if nb.metadata.get("executed") != wanted[o]]
    todo.sort(key=lambda o: -sum(len(c.source) for c in cells(picked[o])))  # what may take longest goes first
    if known:
        print(f"  {len(known)} of {len(picked)} unchanged since they passed", flush=True)
    cores = os.cpu_count() or 2
    with ThreadPoolExecutor(max(2, min(4, cores), cores // 2)) as pool:
        try:
            counts = [*pool.map(one, todo)]
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return sum(known) + sum(good for good, _ in counts), sum(bad for _, bad in counts)


def tally(done: CompletedProcess[str]) -> Count:
    """What pytest counts in its last line; any other program passes or fails as one."""
    last = done.stdout.strip().rpartition("\n")[2]
    good, bad = (sum(int(n) for n in re.findall(rf"(\d+) (?:{o})", last)) for o in ("passed", "failed|error"))
    return (good, bad or 1) if done.returncode else (good or 1, 0)
