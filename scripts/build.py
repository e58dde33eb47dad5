"""The build tool's command line: `python -m scripts.build export`, `... test --only 00_core`, and so on."""

import argparse
import sys
from pathlib import Path

from scripts import nbs, project, runs
from scripts.project import PACKAGE, BuildError


def export(only: str | None) -> bool:
    project.export()
    project.bring_back()
    return True


def test(only: str | None) -> bool:
    books = project.export(only)
    chosen = {o: books[o] for o in project.select(only)}
    failed = runs.test(chosen)
    files = [project.module_file(m) for o, nb in chosen.items() for m in project.modules(o, nb) if m.startswith("tests.")]
    done = project.run(sys.executable, "-m", "pytest", "-q", *files, cwd=PACKAGE.parent)
    print(done.stdout)
    return not failed and done.returncode == 0


def execute(only: str | None) -> bool:
    books = project.export(only)
    return not runs.execute({o: books[o] for o in project.select(only)})


COMMANDS = {"export": export, "test": test, "execute": execute}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.build", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--only", metavar="NAME", help="this notebook alone, as in 00_core")
    args = parser.parse_args()
    try:
        return 0 if COMMANDS[args.command](args.only) else 1
    except (BuildError, nbs.NotebookError) as e:
        print(e, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
