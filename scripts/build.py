"""The build tool: notebooks (`nbs/*.qmd`) to package, README and site. `make help` lists the usual commands."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

from scripts import nbs, project, readme, refs, runs, settings
from scripts.project import BUILD, ENV, PACKAGE, ROOT, Books, BuildError, run

OK = (1, 0)  # passed, failed


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def export(only: str | None = None) -> bool:
    """Write hamux/ out of the notebooks."""
    project.export()
    project.bring_back()
    return True


def execute(only: str | None = None) -> bool:
    """Run the notebooks that have changed and keep their outputs in _build/."""
    return not runs.execute(pages(chosen(project.export(only), only)))


def sync(only: str | None = None) -> bool:
    """Bring settings.ini in step with pyproject.toml."""
    settings.sync()
    return True


def prepare(only: str | None = None) -> bool:
    """Export, test and clean (nbdev_prepare), then write hamux/ and README.md."""
    say("exporting the notebooks")
    books = project.export()
    project.bring_back()
    say("testing and cleaning the notebooks")
    # nbdev_prepare would call Quarto for the README, which comes from nbconvert here, unless that looks new.
    (BUILD / "README.md").touch()
    os.utime(BUILD / "README.md", (time.time() + 1e6,) * 2)
    if failed := runs.prepare(books):
        say(f"failed: {', '.join(map(str, failed))}")
        return False
    if readme.INDEX in books:
        say("making README.md")
        if runs.execute({readme.INDEX: books[readme.INDEX]}):
            return False
        readme.bring_back(readme.make())
    say("hamux/ and README.md are in step with nbs/")
    return True


def test(only: str | None = None) -> bool:
    """Run everything that can be wrong, and count."""
    say("exporting the notebooks")
    books = project.export(only)
    picked = chosen(books, only)
    parts: dict[str, Callable[[], tuple[int, int]]] = {"notebooks": lambda: notebooks(pages(picked))}
    files = [project.module_file(m) for o, nb in picked.items() for m in project.modules(o, nb)]
    files = [o for o in files if o.name.startswith("test_")]
    if files:
        parts["exported tests"] = lambda: pytest("exported", files if only else [PACKAGE / "tests"], BUILD)
    if only is None:
        parts["hamux/ and README.md in step with nbs/"] = lambda: listed(out_of_step(books))
        parts["settings.ini in step with pyproject.toml"] = lambda: listed(settings.problems())
        parts["tests of the build tool"] = lambda: pytest("tool", [ROOT / "scripts" / "tests"], ROOT)
        parts |= LINT
    return count(parts)


def lint(only: str | None = None) -> bool:
    """Check style and types."""
    return count(LINT)


def docs(only: str | None = None) -> bool:
    """Build the site into _docs/."""
    from scripts import site

    if not processed(project.export()):
        return False
    try:
        site.build(BUILD / "_proc", ROOT / "_docs")
    except ValueError as e:  # a broken link or reference
        raise BuildError(str(e)) from None
    return True


def preview(only: str | None = None) -> bool:
    """Serve the site, and rebuild what changes."""
    from scripts import site

    def renew(paths: Iterable[Path]) -> None:
        """Rerun the notebooks at `paths` alone: others keep the outputs they have, even if hamux has changed."""
        names = {Path(p).resolve().relative_to(ROOT) for p in paths}
        try:
            processed(project.export(), names)
        except (BuildError, nbs.NotebookError) as e:
            print(e)

    if not processed(project.export()):
        return False
    site.preview(renew, BUILD / "_proc", ROOT / "_docs", watch=[ROOT / "nbs"])
    return True


def chosen(books: Books, only: str | None) -> Books:
    return {o: books[o] for o in project.select(only)}


def pages(books: Books) -> Books:
    return {o: nb for o, nb in books.items() if not project.is_test(o)}


def processed(books: Books, names: Iterable[Path] | None = None) -> bool:
    """Executes the notebooks (those called `names`) and lets nbdev make them ready for the site, in `_build/_proc/`."""
    say("running notebooks for their outputs")
    if runs.execute({o: nb for o, nb in pages(books).items() if names is None or o in names}):
        return False
    say("nbdev: adding API entries and links")
    # What `nbdev_proc_nbs` does, but that would first install Quarto.
    code = (
        "from nbdev.quarto import refresh_quarto_yml as r, nbdev_sidebar as s; from nbdev.serve import proc_nbs as p; "
    )
    done = run(sys.executable, "-c", code + "r(); s(); p(n_workers=2)")
    if done.returncode:
        raise BuildError(f"nbdev could not process the notebooks:\n{done.stdout}{done.stderr}")
    return True


def notebooks(books: Books) -> tuple[int, int]:
    failed = runs.test(books)
    return len(books) - len(failed), len(failed)


def out_of_step(books: Books) -> Iterable[str]:
    yield from (f"hamux/{o} differs from the notebooks; run `make prepare`" for o in project.stale())
    if readme.INDEX in books:
        if runs.execute({readme.INDEX: books[readme.INDEX]}):
            yield f"{readme.INDEX} does not run"
        else:
            yield from (f"{o} differs from {readme.INDEX}; run `make prepare`" for o in readme.stale(readme.make()))


def listed(problems: Iterable[str]) -> tuple[int, int]:
    found = list(problems)
    for problem in found:
        print(f"  {problem}", flush=True)
    return (0, len(found)) if found else OK


def pytest(name: str, files: list[Path], cwd: Path) -> tuple[int, int]:
    """Runs pytest and counts; nothing to run is a failure."""
    report = BUILD / f"pytest-{name}.xml"
    report.unlink(missing_ok=True)
    cores = ["--numprocesses=logical", "--maxprocesses=4"]
    command = [sys.executable, "-m", "pytest", "-q", *cores, f"--junitxml={report}", *map(str, files)]
    code = subprocess.run(command, cwd=cwd, env=ENV).returncode
    if not report.exists():
        return 0, 1
    suite = next(ElementTree.parse(report).iter("testsuite"))
    tests, failed, errors, skipped = (int(suite.get(o, 0)) for o in ("tests", "failures", "errors", "skipped"))
    bad = failed + errors
    return max(tests - bad - skipped, 0), bad or int(code != 0)


def tool(*command: str) -> Callable[[], tuple[int, int]]:
    def go() -> tuple[int, int]:
        code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=ENV).returncode
        return (0, 1) if code else OK

    return go


LINT = {
    "ruff": tool("ruff", "check", "--quiet", "."),
    "basedpyright": tool("basedpyright", "--level", "error", "--pythonpath", sys.executable),
}


def count(parts: dict[str, Callable[[], tuple[int, int]]]) -> bool:
    """Runs all `parts`, whatever comes, and sums up in pytest's manner."""
    counts = {}
    for name, part in parts.items():
        say(name)
        start = time.time()
        try:
            counts[name] = part()
        except (BuildError, nbs.NotebookError, refs.RefError) as e:
            print(e)
            counts[name] = (0, 1)
        print(f"   {counts[name][0]} passed, {counts[name][1]} failed in {time.time() - start:.0f} s")
    passed, failed = (sum(o) for o in zip(*counts.values()))
    if failed:
        say(f"failed: {', '.join(name for name, (_, bad) in counts.items() if bad)}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return not failed


COMMANDS = {o.__name__: o for o in (export, execute, test, prepare, docs, preview, lint, sync)}


def main() -> int:
    about = "\n".join(f"  {name:8}  {command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scripts.build",
        description=__doc__,
        epilog=f"commands:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("--only", metavar="NAME", help="(test, execute) this notebook alone, as in 00_core")
    args = parser.parse_args()
    try:
        return 0 if COMMANDS[args.command](args.only or None) else 1
    except (BuildError, nbs.NotebookError, refs.RefError) as e:
        print(e, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
