"""What the outcome of cells depends on, so that only what may come out differently is run again."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable

from nbformat import NotebookNode

from scripts import nbs
from scripts.project import ROOT, Books, gist, modules, public


class Needs:
    """The modules of hamux that cells use, directly or through others."""

    def __init__(self, books: Books):
        self.modules = modules(books)
        self.names = public(books)
        installed = sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())
        self.results = {o.name: o.read_text() for o in sorted((ROOT / "nbs/results").glob("*.json"))}
        self.runner = [sys.version, installed, (ROOT / "scripts/run_notebook.py").read_text()]

    def key(self, cells: Iterable[NotebookNode]) -> str:
        """A digest of all that the outcome of `cells` depends on: their code, results they read, hamux, what is installed."""
        needed, new = dict[str, list[NotebookNode]](), {"": list(cells)}
        while new:
            needed |= new
            new = {o: self.modules[o] for found in new.values() for o in self.used(found) if o not in needed}
        code = [[(gist(c.source), nbs.directives(c).get("eval")) for c in needed[o]] for o in sorted(needed)]
        read = [text for name, text in self.results.items() if any(name in c.source for c in needed[""])]
        return hashlib.sha256(json.dumps([self.runner, code, read]).encode()).hexdigest()[:16]

    def used(self, cells: Iterable[NotebookNode]) -> set[str]:
        found = taken([o for cell in cells for o in nodes(cell.source)])
        everything = {o for o in self.modules if "*" in found and not o.startswith("tests.")}
        named = {self.names.get(part) for name in found for part in name.split(".")} - {None}  # wherever it came from
        return {*everything, *named, *(o for o in self.modules for name in found if f"{name}.".startswith(f"{o}."))}


def taken(code: list[ast.AST]) -> set[str]:
    """What code takes from hamux, as in `TanhLayer` or `layers.TanhLayer`; `*` if that can be anything."""
    imports = [o for node in code if isinstance(node, ast.Import) for o in node.names]
    package = {o.asname or o.name for o in imports if o.name == "hamux"}  # what it is called here
    found, bare = [o.name for o in imports], 0
    for node in code:
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                found += [f"{module}.{o.name}" for o in names]
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in package:
                found.append(f"hamux.{attr}" if attr[0] != "_" else "hamux.*")
                bare -= 1
            case ast.Name(id=name) if name in package:
                bare += 1
            case ast.Constant(value=str(text)):  # a program, perhaps, or the name of one
                found += re.findall(r"\bhamux\.[\w.]+", text) + ["hamux.*"] * ("import hamux" in text)
    found += ["hamux.*"] * (bare > 0)
    return {o.removeprefix("hamux.") for o in found if o.startswith("hamux.")}


@functools.cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    return tuple(o for statement in nbs.parse(source) for o in ast.walk(statement))
