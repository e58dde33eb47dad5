"""Makes the stock nbdev project `_build/` out of `nbs/*.qmd`, and exports the package with nbdev's own command."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from scripts import nbs

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("HAMUX_BUILD", ROOT / "_build")).resolve()
PACKAGE = BUILD / "hamux"  # the fresh export; ROOT / "hamux" is the committed one

ENV = {
    "JAX_PLATFORMS": "cpu",
    # What was compiled once is read again: most of the time of a notebook or a test goes into compiling.
    "JAX_COMPILATION_CACHE_DIR": str(BUILD / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    **os.environ,
    # Strict JAX: no notebook may lean on a silent promotion.
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": os.pathsep.join([str(BUILD), str(ROOT)]),  # the fresh export goes before an installed one
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}

Books = dict[Path, NotebookNode]  # by the notebook's path from the root, as in nbs/00_core.qmd


class BuildError(Exception):
    """A failure that the reader can mend. Its text is all that is shown."""


def run(*command: str | Path, cwd: Path = BUILD) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(o) for o in command], cwd=cwd, env=ENV, text=True, capture_output=True)


def notebooks() -> list[Path]:
    """`index.qmd`, the numbered files, and those in `tests/`. Any other file under `nbs/` is an asset of the site."""
    found = (p.relative_to(ROOT) for p in ROOT.glob("nbs/**/*.qmd"))
    return sorted(p for p in found if is_test(p) or re.match(r"(index|\d+\w*)\.qmd$", p.name))


def is_test(source: Path) -> bool:
    """Whether a notebook holds tests only, which pytest runs, and is no page."""
    return source.parent == Path("nbs/tests")


def select(only: str | None) -> list[Path]:
    """The notebook called `only`, with its tests, or all if that is None."""
    name = only and re.sub(r"^\d+\w?_", "", Path(only).stem)
    found = [p for p in notebooks() if only is None or name == re.sub(r"^\d+\w?_", "", p.stem)]
    if not found:
        names = ", ".join(p.stem for p in notebooks()) or "none"
        raise BuildError(f"no notebook to run{f' is called {only!r}' if only else ''}; nbs/ holds: {names}")
    return found


def ipynb(source: Path) -> Path:
    return BUILD / source.with_suffix(".ipynb")


def code(nb: NotebookNode) -> list[NotebookNode]:
    return [c for c in nb.cells if c.cell_type == "code"]


def write(path: Path, data: bytes) -> bool:
    """Writes only what changed, because nbdev goes by the time of the last change; tells whether it did."""
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def make(only: str | None = None) -> Books:
    """Brings `_build/` up to date and gives its notebooks. With `only`, other unreadable ones are left out."""
    wanted, sources = select(only), notebooks()
    assets = [p.relative_to(ROOT) for p in ROOT.glob("nbs/**/*") if p.is_file()]
    for file in [Path("settings.ini"), Path("pyproject.toml"), *(o for o in assets if o not in sources)]:
        write(BUILD / file, (ROOT / file).read_bytes())
    for old in set(BUILD.glob("nbs/**/*.ipynb")) - {ipynb(o) for o in sources}:
        old.unlink()
        (BUILD / "_proc" / old.relative_to(BUILD / "nbs")).unlink(missing_ok=True)
    books = {}
    for source in sources:
        try:
            books[source] = nbs.read(ROOT / source, source)
        except nbs.NotebookError as e:
            if source in wanted:
                raise
            print(f"left out: {e}")
        else:
            keep_outputs(books[source], ipynb(source))
            write(ipynb(source), (nbformat.writes(books[source]) + "\n").encode())
    return books


def keep_outputs(nb: NotebookNode, old: Path) -> None:
    """Takes over what an earlier run left in `old`, if not one line of code has changed since."""
    if not old.exists():
        return
    before = nbformat.read(old, as_version=4)
    if [c.source for c in code(before)] == [c.source for c in code(nb)]:
        for cell, ran in zip(code(nb), code(before)):
            cell.outputs = ran.outputs
        nb.metadata.update({k: before.metadata[k] for k in before.metadata.keys() & {"executed"}})


def own_module(nb: NotebookNode) -> str | None:
    """The module that `#| default_exp` names."""
    return next((d["default_exp"][0] for d in map(nbs.directives, nb.cells) if d.get("default_exp")), None)


def modules(source: Path, nb: NotebookNode) -> list[str]:
    """The modules to which `nb` exports, its own first."""
    own, found = own_module(nb), set()
    for cell in nb.cells:
        for args in [v for k, v in nbs.directives(cell).items() if k in nbs.EXPORTS]:
            if not args and own is None:
                raise nbs.NotebookError(source, cell.metadata.qmd.line, "`#| export` needs a `#| default_exp name`")
            found.add(args[0] if args else own)
    return sorted(found, key=lambda o: (o != own, o))


def module_file(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def export(only: str | None = None) -> Books:
    """Exports the package afresh, into `_build/hamux/`."""
    books = make(only)
    done = nbdev("nbdev_export", books)
    if done.returncode:
        raise BuildError(f"nbdev_export failed:\n{done.stderr}")
    write(PACKAGE / "__init__.py", init(books).encode())
    write(PACKAGE / "py.typed", b"")
    return books


def nbdev(command: str, books: Books) -> subprocess.CompletedProcess[str]:
    """Runs `command`, one of nbdev's that export, and names the `.qmd` files in what it exports."""
    where: dict[str, Path] = {}
    for source, nb in books.items():
        for module in modules(source, nb):
            if module in where:
                raise BuildError(f"{source}: {where[module]} exports hamux.{module} too; all of it belongs in one")
            where[module] = source
            if module != own_module(nb):  # to such a module nbdev appends, so it has to be there
                notebook = os.path.relpath(ipynb(source), module_file(module).parent)
                head = f"# AUTOGENERATED! DO NOT EDIT! File to edit: {notebook}.\n\n# %% auto #0\n__all__ = []"
                write(module_file(module), head.encode())
    files = {module_file(o) for o in where}
    files |= {d / "__init__.py" for f in files for d in f.parents if d.is_relative_to(PACKAGE)}
    for old in set(PACKAGE.rglob("*.py")) - files:
        old.unlink()
    done = run(command)
    for file in files & set(PACKAGE.rglob("*.py")):
        text = re.sub(r"^(# .*\bnbs/\S+)\.ipynb\b", r"\1.qmd", file.read_text().strip(), flags=re.M)
        file.write_text(text + "\n" * bool(text))
    return done


def init(books: Books) -> str:
    """`hamux/__init__.py`: the version, and the public names of the modules of all `0N_*.qmd`, spelled out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imports: list[str] = []
    where: dict[str, str] = {}
    for source, nb in books.items():
        module = own_module(nb)
        if module is None or not re.match(r"0\d", source.name) or module not in modules(source, nb):
            continue
        public = re.search(r"^__all__ = (\[.*?\])", module_file(module).read_text(), re.M | re.S)
        names = ast.literal_eval(public[1]) if public else []
        names.sort(key=lambda o: (not (o.isupper() and len(o) > 1), not o[0].isupper(), o))  # as ruff sorts imports
        for name in names:
            if name in where:
                raise BuildError(f"{source}: hamux.{where[name]} and hamux.{module} both export {name!r}")
            where[name] = module
        if names:
            imports += [f"from .{module} import (", *(f"    {o}," for o in names), ")"]
    listed = [f'    "{o}",' for o in ["__version__", *where]]
    head = [f'"""{project["description"]}"""', "", "# AUTOGENERATED! DO NOT EDIT! Files to edit: ../nbs/0*.qmd.", ""]
    rows = [*head, *imports, "", f'__version__ = "{project["version"]}"', "", "__all__ = [", *listed, "]"]
    return "\n".join(rows) + "\n"


def contents(package: Path) -> dict[str, bytes]:
    """The files of `package` by name."""
    found = (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(package).as_posix(): p.read_bytes() for p in found}


def stale() -> list[str]:
    """The files in which the committed `hamux/` differs from the fresh export."""
    fresh, kept = contents(PACKAGE), contents(ROOT / "hamux")
    return sorted(o for o in fresh.keys() | kept.keys() if fresh.get(o) != kept.get(o))


def bring_back() -> None:
    """Makes the committed `hamux/` equal to the fresh export."""
    for name in stale():
        fresh, kept = PACKAGE / name, ROOT / "hamux" / name
        print(f"{'wrote' if fresh.exists() else 'removed'} hamux/{name}")
        if fresh.exists():
            write(kept, fresh.read_bytes())
        else:
            kept.unlink()
