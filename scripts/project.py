"""Makes the stock nbdev project `_build/` out of `nbs/*.qmd`, and exports the package with nbdev's own command."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from scripts import nbs
from scripts.nbs import BuildError

ROOT = Path(__file__).resolve().parents[1]
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = Path(os.environ.get("HAMUX_BUILD", ROOT / "_build")).resolve()
PACKAGE = BUILD / "hamux"  # the fresh export; ROOT / "hamux" is the committed one

ENV = {
    "JAX_PLATFORMS": "cpu",
    # What was compiled once is read again: most of the time of a notebook or a test goes into compiling.
    "JAX_COMPILATION_CACHE_DIR": str(BUILD / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_TRACEBACK_FILTERING": "quiet_remove_frames",  # those of notebooks and of hamux are shown
    **os.environ,
    # Strict JAX: no notebook may lean on a silent promotion.
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": os.pathsep.join([str(BUILD), str(ROOT)]),  # the fresh export goes before an installed one
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}

WHOLE = {"viz"}  # modules whose names are too plain to stand alone: `hamux` has the module, as in `hamux.viz.draw`

Books = dict[Path, NotebookNode]  # by the notebook's path from the root, as in nbs/00_core.qmd


def run(*command: str | Path, cwd: Path = BUILD) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(o) for o in command], cwd=cwd, env=ENV, text=True, capture_output=True)


def notebooks() -> list[Path]:
    """`index.qmd`, the numbered files, and those in `tests/`. Any other file under `nbs/` is an asset of the site."""
    found = (p.relative_to(ROOT) for p in ROOT.glob("nbs/**/*.qmd"))
    return sorted(p for p in found if is_test(p) or re.match(r"(index|\d+\w*)\.qmd$", p.name))


def is_test(source: Path) -> bool:
    """Whether a notebook holds tests only, which pytest runs, and is no page."""
    return source.parent == Path("nbs/tests")


def select(books: Books, only: str | None) -> Books:
    """The notebook called `only`, with its tests, or all if that is None."""

    def name(source: str | Path) -> str:
        return re.sub(r"^\d+\w?_", "", Path(source).stem)

    found = {o: nb for o, nb in books.items() if only is None or name(o) == name(only)}
    if not found:
        names = ", ".join(p.stem for p in books) or "none"
        raise BuildError(f"no notebook to run{f' is called {only!r}' if only else ''}; nbs/ holds: {names}")
    return found


def ipynb(source: Path) -> Path:
    return BUILD / source.with_suffix(".ipynb")


def cells(nb: NotebookNode) -> list[NotebookNode]:
    return [c for c in nb.cells if c.cell_type == "code"]


@functools.cache
def gist(source: str) -> str:
    """What a run can tell of `source`: neither comments nor docstrings."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a magic
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree) + ";" * source.rstrip().endswith(";")  # which keeps a value off the page


def write(path: Path, data: bytes) -> bool:
    """Writes only what has changed; tells whether it did."""
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def make() -> Books:
    """Brings `_build/` up to date and gives its notebooks."""
    books = {source: nbs.read(ROOT / source, source) for source in notebooks()}
    assets = {p.relative_to(ROOT) for p in ROOT.glob("nbs/**/*") if p.is_file()} - books.keys()
    for file in [Path("settings.ini"), Path("pyproject.toml"), Path("README.md"), *assets]:
        write(BUILD / file, (ROOT / file).read_bytes())
    kept = {BUILD / o for o in assets} | {ipynb(o) for o in books}
    for old in {p for p in BUILD.glob("nbs/**/*") if p.is_file() and not p.name.startswith(".")} - kept:
        old.unlink()
    for source, nb in books.items():
        keep_outputs(nb, ipynb(source))
        write(ipynb(source), text(nb))
    return books


def text(nb: NotebookNode) -> bytes:
    """`nb` as Jupyter writes it."""
    return (nbformat.writes(nb) + "\n").encode()


def keep_outputs(nb: NotebookNode, old: Path) -> None:
    """Takes over what an earlier run left in `old`, if no cell does anything else since."""
    if not old.exists():
        return
    before = nbformat.read(old, as_version=4)
    if [gist(c.source) for c in cells(before)] == [gist(c.source) for c in cells(nb)]:
        for cell, ran in zip(cells(nb), cells(before)):
            cell.outputs = ran.outputs
        nb.metadata.update({k: before.metadata[k] for k in before.metadata.keys() & {"executed", "passed"}})


def own_module(nb: NotebookNode) -> str | None:
    """The module that `#| default_exp` names."""
    return next((d["default_exp"][0] for d in map(nbs.directives, nb.cells) if d.get("default_exp")), None)


def modules(books: Books) -> dict[str, list[NotebookNode]]:
    """The cells of each module of hamux."""
    found: dict[str, list[NotebookNode]] = {}
    where: dict[str, Path] = {}
    for source, nb in books.items():
        for cell in filter(nbs.is_exported, nb.cells):
            [args] = [v for k, v in nbs.directives(cell).items() if k in nbs.EXPORTS]
            module = args[0] if args else own_module(nb)
            if module is None:
                raise nbs.NotebookError(source, cell.metadata.qmd.line, "`#| export` needs a `#| default_exp name`")
            if where.setdefault(module, source) != source:
                raise BuildError(f"{source}: {where[module]} exports hamux.{module} too; all of it belongs in one")
            found.setdefault(module, []).append(cell)
    return found


def file_of(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def export(command: str = "nbdev_export") -> Books:
    """Exports the package afresh, into `_build/hamux/`, with `command`, one of nbdev's that export."""
    books = make()
    files = {file_of(o) for o in modules(books)}
    files |= {d / "__init__.py" for f in files for d in f.parents if d.is_relative_to(PACKAGE)}
    for old in set(PACKAGE.rglob("*.py")) - files:
        old.unlink()
    for source, nb in books.items():
        for module in modules({source: nb}).keys() - {own_module(nb)}:  # nbdev appends to these: they must be there
            notebook = os.path.relpath(ipynb(source), file_of(module).parent)
            head = f"# AUTOGENERATED! DO NOT EDIT! File to edit: {notebook}.\n\n# %% auto #0\n__all__ = []"
            write(file_of(module), head.encode())
    done = run(command)
    if done.returncode:
        raise BuildError(f"{command} failed:\n{done.stderr}")
    for file in files & set(PACKAGE.rglob("*.py")):
        code = re.sub(r"^(# .*\bnbs/\S+)\.ipynb\b", r"\1.qmd", file.read_text().strip(), flags=re.M)
        code = re.sub(r"^#\|.*\n", "", code, flags=re.M)  # Quarto's options, which nbdev leaves there
        file.write_text(code + "\n" * bool(code))
    write(PACKAGE / "__init__.py", init(books).encode())
    write(PACKAGE / "py.typed", b"")
    return books


def public(books: Books) -> dict[str, str]:
    """The module of each public name of hamux: those of `0N_*.qmd` and `3N_*.qmd`, but for private modules.

    A module that is public as a whole is a name of the package itself, whose module is "".
    """
    where: dict[str, str] = {}
    for source, nb in books.items():
        module = own_module(nb) or "_"
        if module.startswith("_") or not re.match("[03]", source.name) or module not in modules({source: nb}):
            continue
        listed = re.search(r"^__all__ = (\[.*?\])", file_of(module).read_text(), re.M | re.S)
        names = ast.literal_eval(listed[1]) if listed else []
        if module in WHOLE:
            names, module = [module], ""
        names.sort(key=lambda o: (not (o.isupper() and len(o) > 1), not o[0].isupper(), o))  # as ruff sorts imports
        for name in names:
            if name in where:
                raise BuildError(f"{source}: hamux.{where[name]} and hamux.{module} both export {name!r}")
            where[name] = module
    return where


def init(books: Books) -> str:
    """`hamux/__init__.py`: the version, and the public names, spelled out."""
    where = public(books)
    rows = [f'"""{ABOUT["description"]}"""', ""]
    rows += ["# AUTOGENERATED! DO NOT EDIT! Files to edit: ../nbs/0*.qmd.", ""]
    for module in dict.fromkeys(where.values()):
        rows += [f"from .{module} import (", *(f"    {name}," for name in where if where[name] == module), ")"]
    listed = [f'    "{name}",' for name in ["__version__", *where]]
    rows += ["", f'__version__ = "{ABOUT["version"]}"', "", "__all__ = [", *listed, "]"]
    return "\n".join(rows) + "\n"


def located(report: str, books: Books) -> str:
    """`report` with the places in hamux/ as those in the notebooks from which they come."""
    named = {(str(source), c.id): c for source, nb in books.items() for c in cells(nb)}

    def place(m: re.Match[str]) -> str:
        file, until = BUILD / m[1], int(m[3])
        above = "".join(file.read_text().splitlines(keepends=True)[:until]) if file.exists() else ""
        begins = [*re.finditer(r"^# %% (?:\.\./)*(nbs/\S+) #(\S+)\n", above, re.M)]
        cell = begins and named.get((begins[-1][1], begins[-1][2]))
        if not cell:
            return m[0]
        line = cell.metadata.qmd.line + nbs.first_line(cell) + above.rstrip("\n").count("\n", begins[-1].end())
        return f"{begins[-1][1]}{m[2]}{line}"

    return re.sub(r'(?:[\w./-]*/)?(hamux/[\w/]+\.py)(:|", line )(\d+)', place, report)


def generated(root: Path) -> dict[Path, bytes]:
    """What is made out of the notebooks, by its path from `root`."""
    found = [p for p in root.glob("hamux/**/*") if p.is_file() and "__pycache__" not in p.parts]
    found += [p for p in (root / "README.md", *root.glob("figures/*")) if p.exists()]
    return {p.relative_to(root): p.read_bytes() for p in found}


def stale() -> list[Path]:
    """What differs from what is committed. Pictures need only be there: their bytes change with the machine."""
    fresh, kept = generated(BUILD), generated(ROOT)

    def differs(name: Path) -> bool:
        return name not in kept if name.parts[0] == "figures" else fresh.get(name) != kept.get(name)

    return sorted(filter(differs, fresh.keys() | kept.keys()))


def bring_back() -> None:
    """Makes what is committed equal to what is fresh."""
    fresh = generated(BUILD)
    for name in stale():
        print(f"{'wrote' if name in fresh else 'removed'} {name}")
        if name in fresh:
            write(ROOT / name, fresh[name])
        else:
            (ROOT / name).unlink()
