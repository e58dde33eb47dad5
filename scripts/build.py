"""The build tool: notebooks (`nbs/*.qmd`) to package, README and site. `make help` lists the usual commands."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts import nbs, project, readme, refs, runs, site
from scripts.project import BUILD, PACKAGE, ROOT, Books, BuildError, write
from scripts.runs import Count

BIB = ROOT / "nbs/references.bib"


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def export() -> None:
    """Write hamux/ out of the notebooks."""
    project.export()
    project.bring_back()


def prepare() -> None:
    """Export, test and clean (nbdev_prepare), then write hamux/ and README.md."""
    say("nbdev_prepare: exporting the notebooks")
    marks = [BUILD / "nbs/.notest", BUILD / "nbs/tests/.notest"]  # by which nbdev runs no notebook of the folder:
    for mark in marks:  # each is run below, once, and keeps its outputs
        write(mark, b"")
    try:
        books = project.export("nbdev_prepare")
    finally:
        for mark in marks:
            mark.unlink()
    make(books, pages(books))
    readme.make()
    project.bring_back()
    say("hamux/ and README.md are in step with nbs/")


def test(only: str | None = None) -> bool:
    """Run everything that can be wrong, and count."""
    say("exporting the notebooks")
    books = project.export()
    picked = project.select(books, only)
    told = tuple(f"{path}:" for path in picked)
    parts: dict[str, Callable[[], Count]] = {
        "notebooks and their tests": lambda: runs.execute(books, pages(picked) | tests(picked)),
        "pages that can be read": lambda: listed(o for path in pages(picked) for o in nbs.problems(path, books[path])),
        "links and references": lambda: listed(o for o in refs.check(pages(books), BIB) if o.startswith(told)),
    }
    if only is None:
        tool = "pytest", "-q", "--numprocesses=logical", "--maxprocesses=4", "scripts/tests"
        parts["hamux/ and README.md in step with nbs/"] = lambda: listed(out_of_step(books))
        parts["tests of the build tool"] = lambda: shown(books, ROOT, *tool)
        parts |= linters(books)
    return count(parts)


def lint() -> bool:
    """Check style and types."""
    return count(linters(project.export()))


def docs() -> None:
    """Build the site into _docs/."""
    books = project.export()
    make(books, pages(books))
    site.build(BUILD / "_proc", ROOT / "_docs")


def preview() -> None:
    """Serve the site, and rebuild what changes."""

    def renew(changed: Iterable[Path]) -> None:
        """Runs these notebooks alone: others keep the outputs they have, even if hamux has changed."""
        names = {path.relative_to(ROOT) for path in changed}
        books = project.export()
        make(books, {o: nb for o, nb in pages(books).items() if o in names})

    books = project.export()
    make(books, pages(books))
    site.preview(BUILD / "_proc", ROOT / "nbs", renew)


def pages(books: Books) -> Books:
    return {o: nb for o, nb in books.items() if not project.is_test(o)}


def tests(books: Books) -> Books:
    """Those notebooks whose module pytest collects."""
    return {o: nb for o, nb in books.items() if (project.own_module(nb) or "").startswith("tests.test_")}


def make(books: Books, picked: Books) -> None:
    """Makes all pages ready for the site, once `picked` have run."""
    if problems := refs.check(pages(books), BIB):
        raise BuildError("\n".join(problems))
    say("running the notebooks that have changed")
    _, failed = runs.execute(books, picked)
    if failed:
        raise BuildError(f"failed: {failed} of the notebooks")
    say("nbdev: adding API entries and links")
    process(books)


def process(books: Books) -> None:
    """Lets nbdev bring `_build/_proc/` up to date."""
    # nbdev looks at what has changed of a notebook, not at what else its entries and links are made of
    made_of = (PACKAGE / "_modidx.py").read_bytes() + (ROOT / "scripts/showdoc.py").read_bytes()
    mark, ready = BUILD / "processed", BUILD / "_proc"
    force = not mark.exists() or mark.read_bytes() != made_of
    mark.unlink(missing_ok=True)  # and is written when all is well
    code = f"from nbdev.serve import proc_nbs; proc_nbs(force={force}, skip_folder_re='^[_.]|^tests$')"
    done = project.run(sys.executable, "-c", code)
    if done.returncode:
        known = [o for path, nb in pages(books).items() for o in nbs.problems(path, nb)]  # of which it may be one
        said = f"nbdev could not process the notebooks:\n{project.located(done.stderr, books)}"
        raise BuildError("\n".join([said, *known]))
    mark.write_bytes(made_of)
    for old in (o for o in ready.rglob("*") if o.is_file() and not (BUILD / "nbs" / o.relative_to(ready)).exists()):
        old.unlink()


def out_of_step(books: Books) -> Iterable[str]:
    process(books)
    readme.make()
    return (f"{o} differs from what the notebooks make; run `make prepare`" for o in project.stale())


def listed(problems: Iterable[str]) -> Count:
    found = list(problems)
    for problem in found:
        print(f"  {problem}", flush=True)
    return (0, len(found)) if found else (1, 0)


def shown(books: Books, cwd: Path, *command: str) -> Count:
    """Runs a Python program and prints what it says, with places in hamux/ as those in the notebooks."""
    done = project.run(sys.executable, "-m", *command, cwd=cwd)
    print(project.located(done.stdout + done.stderr, books), end="", flush=True)
    return runs.tally(done)


def linters(books: Books) -> dict[str, Callable[[], Count]]:
    ruff = "ruff", "check", "--quiet", "--no-cache"
    types = "basedpyright", "--level", "error", "--pythonpath", sys.executable
    return {
        "ruff, hamux": lambda: shown(books, BUILD, *ruff, "--no-respect-gitignore", "hamux"),
        "ruff, scripts": lambda: shown(books, ROOT, *ruff, "scripts"),
        "basedpyright": lambda: shown(books, BUILD, *types),
    }


def count(parts: dict[str, Callable[[], Count]]) -> bool:
    """Runs all `parts`, whatever comes, and sums up in pytest's manner."""
    counts: dict[str, Count] = {}
    for name, part in parts.items():
        say(name)
        start = time.time()
        try:
            counts[name] = part()
        except BuildError as e:
            print(e)
            counts[name] = 0, 1
        print(f"   {counts[name][0]} passed, {counts[name][1]} failed in {time.time() - start:.0f} s")
    passed, failed = (sum(o) for o in zip(*counts.values()))
    if failed:
        say(f"failed: {', '.join(name for name, (_, bad) in counts.items() if bad)}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return not failed


COMMANDS = {o.__name__: o for o in (export, test, prepare, docs, preview, lint)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.build", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--only", metavar="NAME", help="(test) this notebook and its tests alone, as in 00_core")
    args = parser.parse_args()
    try:
        good = test(args.only or None) if args.command == "test" else COMMANDS[args.command]()
        return int(good is False)
    except BuildError as e:
        print(e, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
