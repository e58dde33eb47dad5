"""The build tool: notebooks (`nbs/*.qmd`) to package, README and site. `make help` lists the usual commands."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts import nbs, project, readme, refs, runs
from scripts.project import BUILD, ROOT, Books, BuildError, write

Count = tuple[int, int]  # passed, failed
ERRORS = BuildError, nbs.NotebookError, refs.RefError  # which their texts explain


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def export(only: str | None = None) -> None:
    """Write hamux/ out of the notebooks."""
    project.export()
    project.bring_back()


def prepare(only: str | None = None) -> None:
    """Export, test and clean (nbdev_prepare), then write hamux/ and README.md."""
    say("nbdev_prepare: exporting the notebooks")
    marks = [BUILD / "nbs/.notest", BUILD / "nbs/tests/.notest"]  # by which nbdev runs no notebook of the folder:
    for mark in marks:  # each is run below, once, and keeps its outputs
        write(mark, b"")
    # nbdev_prepare would call Quarto for the README, which is made below, unless that looks new.
    write(BUILD / "README.md", (ROOT / "README.md").read_bytes())
    os.utime(BUILD / "README.md", (time.time() + 1e6,) * 2)
    try:
        books = project.export("nbdev_prepare")
    finally:
        for mark in marks:
            mark.unlink()
    execute(books, pages(books))
    make_readme(books)
    project.bring_back()
    say("hamux/ and README.md are in step with nbs/")


def test(only: str | None = None) -> bool:
    """Run everything that can be wrong, and count."""
    say("exporting the notebooks")
    books = project.export()
    picked = project.select(books, only)
    parts: dict[str, Callable[[], Count]] = {
        "notebooks": lambda: notebooks(books, pages(picked)),
        "exported tests": lambda: runs.test(books, picked),
        "pages that can be read": lambda: listed(unreadable(pages(picked))),
        "links and references": lambda: listed(astray(pages(books), pages(picked))),
    }
    if only is None:
        parts["hamux/ and README.md in step with nbs/"] = lambda: listed(out_of_step(books))
        parts["tests of the build tool"] = lambda: tool_tests(books)
        parts |= linters(books)
    return count(parts)


def lint(only: str | None = None) -> bool:
    """Check style and types."""
    return count(linters(project.export()))


def docs(only: str | None = None) -> None:
    """Build the site into _docs/."""
    from scripts import site

    books = project.export()
    process(books, pages(books))
    try:
        site.build(BUILD / "_proc", ROOT / "_docs")
    except ValueError as e:  # a broken link or reference
        raise BuildError(str(e)) from None


def preview(only: str | None = None) -> None:
    """Serve the site, and rebuild what changes."""
    from scripts import site

    def renew(paths: Iterable[Path]) -> None:
        """Rerun the notebooks at `paths` alone: others keep the outputs they have, even if hamux has changed."""
        names = {Path(p).resolve().relative_to(ROOT) for p in paths}
        books = project.export()
        process(books, {o: nb for o, nb in pages(books).items() if o in names})

    books = project.export()
    process(books, pages(books))
    site.preview(renew, BUILD / "_proc", ROOT / "_docs", watch=[ROOT / "nbs"])


def pages(books: Books) -> Books:
    return {o: nb for o, nb in books.items() if not project.is_test(o)}


def execute(books: Books, picked: Books) -> None:
    say("running the notebooks that have changed")
    if failed := runs.execute(books, picked):
        raise BuildError(f"failed: {', '.join(map(str, failed))}")


def process(books: Books, picked: Books) -> None:
    """Runs `picked`, and lets nbdev make them ready for the site, in `_build/_proc/`, where all else is put that it needs."""
    execute(books, picked)
    say("nbdev: adding API entries and links")
    runs.process({o: books[o] for o in picked})
    made, ready = BUILD / "nbs", BUILD / "_proc"
    files = {p.relative_to(made) for p in made.rglob("*") if p.is_file()}
    for file in (o for o in files if o.suffix != ".ipynb"):
        write(ready / file, (made / file).read_bytes())
    for old in (p for p in ready.rglob("*") if p.is_file() and p.relative_to(ready) not in files):
        old.unlink()


def make_readme(books: Books) -> None:
    if readme.INDEX in books and "executed" in books[readme.INDEX].metadata:
        runs.process({readme.INDEX: books[readme.INDEX]})
        readme.make(runs.processed(readme.INDEX))


def notebooks(books: Books, picked: Books) -> Count:
    failed = runs.execute(books, picked)
    return len(picked) - len(failed), len(failed)


def unreadable(picked: Books) -> Iterable[str]:
    return (o for source, nb in picked.items() for o in nbs.problems(source, nb))


def astray(books: Books, picked: Books) -> Iterable[str]:
    found = refs.check(books, ROOT / "nbs/references.bib")
    return (o for o in found if o.partition(":")[0] in map(str, picked))


def out_of_step(books: Books) -> Iterable[str]:
    make_readme(books)
    return (f"{o} differs from what the notebooks make; run `make prepare`" for o in project.stale())


def listed(problems: Iterable[str]) -> Count:
    found = list(problems)
    for problem in found:
        print(f"  {problem}", flush=True)
    return (0, len(found)) if found else (1, 0)


def tool_tests(books: Books) -> Count:
    good, bad = runs.pytest("tool", [ROOT / "scripts" / "tests"], ROOT, books)
    return good.total(), bad.total()


def linters(books: Books) -> dict[str, Callable[[], Count]]:
    def judged(*command: str, cwd: Path) -> Callable[[], Count]:
        return lambda: (0, 1) if runs.show(*command, cwd=cwd, books=books) else (1, 0)

    ruff = "ruff", "check", "--quiet", "--no-cache"
    types = "basedpyright", "--level", "error", "--pythonpath", sys.executable
    return {
        "ruff, hamux": judged(*ruff, "--no-respect-gitignore", "hamux", cwd=BUILD),
        "ruff, scripts": judged(*ruff, "scripts", cwd=ROOT),
        "basedpyright": judged(*types, cwd=BUILD),
    }


def count(parts: dict[str, Callable[[], Count]]) -> bool:
    """Runs all `parts`, whatever comes, and sums up in pytest's manner."""
    counts: dict[str, Count] = {}
    for name, part in parts.items():
        say(name)
        start = time.time()
        try:
            counts[name] = part()
        except ERRORS as e:
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
        return int(COMMANDS[args.command](args.only or None) is False)
    except ERRORS as e:
        print(e, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
