"""How an API entry looks: heading, signature, docstring, arguments, methods. nbdev calls it as its `renderer`."""

import ast
import enum
import importlib
import inspect
import io
import operator
import re
import textwrap
import tokenize
from collections.abc import Iterator

from fastcore.docments import ShowDocRenderer
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup


class Entry(ShowDocRenderer):
    """The Markdown of one entry; types and defaults stand there as the source has them."""

    def __init__(self, sym: object, name: str | None = None, title_level: int = 3):
        super().__init__(_exported(sym), name=name, title_level=title_level)

    def _repr_markdown_(self) -> str:
        if _is_private(self.sym):  # its code on the page says it all
            return ""
        source = NbdevLookup().code(getattr(self.sym, "__qualname__", self.nm))
        parts = [f"{'#' * self.title_level} {self.nm}", "::: {.api}"]
        if source:
            parts.append(f'[source]({source}){{.api-source title="The source of {self.nm}"}}')
        return "\n\n".join(filter(None, [*parts, *self._body(), ":::"])) + "\n"

    def _body(self) -> list[str]:
        code, doc = f"```python\n{_signature(self.sym, self.nm)}\n```", inspect.cleandoc(self.sym.__doc__ or "")
        return [code, doc, _arguments(self.sym), _methods(self.sym) if inspect.isclass(self.sym) else ""]


class Source(Entry):
    """An entry with the code of what it is about: `show_doc(HAM.energy, renderer="scripts.showdoc.Source")`.

    The code has the arguments, their types and their comments, so that they need no signature and no table, and no
    docstring, which stands above it.
    """

    def _body(self) -> list[str]:
        lines = textwrap.dedent(inspect.getsource(self.sym)).splitlines()
        node = ast.parse("\n".join(lines)).body[0]
        if ast.get_docstring(node) is not None:
            del lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
        return [inspect.cleandoc(self.sym.__doc__ or ""), "```python\n" + "\n".join(lines) + "\n```"]


def _exported(sym: object) -> object:
    """The same thing in the package, for Python cannot find the source of a class that a notebook defined."""
    name = getattr(sym, "__qualname__", "")
    found = NbdevLookup()[name]
    if not isinstance(found, tuple):
        return sym
    module = importlib.import_module(found[1].removesuffix(".py").replace("/", "."))
    return operator.attrgetter(name)(module)


def _is_private(sym: object) -> bool:
    """Whether `sym` is of a notebook, but has no public name in the package and no place in a public module."""
    name = getattr(sym, "__qualname__", "").split(".")[0]
    if hasattr(importlib.import_module(get_config().lib_name), name):
        return False
    found = NbdevLookup()[name]
    if not isinstance(found, tuple):  # nbdev's index has no second module of a notebook
        return sym.__module__ == "__main__"
    return name.startswith("_") or any(o.startswith("_") or o == "tests" for o in found[1].split("/"))


class _Text(str):
    """A default that shows itself as the source has it."""

    __repr__ = str.__str__


def _signature(sym: object, name: str) -> str:
    """`name(x, beta=1.0)`, without the types, which the table of arguments has."""
    if inspect.isclass(sym) and issubclass(sym, enum.Enum):
        return name  # whose members are not made by calls
    defaults = {p.name: _Text(_default(p, _written(sym))) for p in _parameters(sym) if p.default is not p.empty}
    plain = [p.replace(annotation=p.empty, default=defaults.get(p.name, p.empty)) for p in _parameters(sym)]
    return f"{name}{inspect.Signature(plain)}"


def _default(p: inspect.Parameter, written: dict[str, tuple[str, str, str]]) -> str:
    if p.default is p.empty:
        return ""
    return written.get(p.name, ("", "", ""))[1] or repr(p.default)


def _arguments(sym: object) -> str:
    """The table of arguments, where there is something to say about them."""
    written = _written(sym)
    rows = []
    for p in _parameters(sym):
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind, _, note = written.get(p.name, ("", "", ""))
        name = f"<code>{star}{p.name}</code>"  # in backticks, nbdev would link it to whatever has this name
        rows.append([name, _code(kind), _code(_default(p, written)), _note(note)])
    returned, _, note = written.get("return", ("", "", ""))
    if returned not in ("", "None"):
        rows.append(["*returns*", _code(returned), "", _note(note)])
    if not any(kind or note for _, kind, _, note in rows):
        return ""
    return _table(["Argument", "Type", "Default", "Meaning"], rows)


def _methods(cls: type) -> str:
    """What a class does: its methods and properties that have something to say, each with the start of its docstring."""
    rows = []
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] == cls.__module__.split(".")[0]]
    for name in dict.fromkeys(name for base in bases for name in vars(base)):
        member, static = getattr(cls, name), inspect.getattr_static(cls, name)
        public = name == "__call__" or not name.startswith("_")
        if not (public and member.__doc__ and (callable(member) or isinstance(static, property))):
            continue
        shown = name if isinstance(static, property) else _signature(member, name)
        doc = " ".join(inspect.cleandoc(member.__doc__).split("\n\n")[0].split()).replace("|", "\\|")
        if getattr(member, "__name__", name) != name:
            doc = f"another name for `{member.__name__}`"
        anchor = f'<a id="{cls.__name__.lower()}.{name.lower()}"></a>'  # where nbdev's links to it lead
        rows.append([anchor + _code(shown), doc])
    return _table(["Method", "Meaning"], rows) if rows else ""


def _note(note: str) -> str:
    return re.sub(r'"[^"]*"', r"`\g<0>`", note).replace("|", "\\|")  # a shape, as in "K D", is code


def _parameters(sym: object) -> list[inspect.Parameter]:
    """The parameters that a caller gives."""
    found = list(inspect.signature(sym).parameters.values())
    return found[1:] if found and found[0].name in ("self", "cls") else found


def _written(sym: object) -> dict[str, tuple[str, str, str]]:
    """Name -> (type, default, comment) of each parameter or field, as the source has them; `return` too."""
    if not inspect.isclass(sym):
        shared = getattr(sym, "__delwrap__", None)  # the function to which it passes on its keywords, as in fastcore
        return (dict(_entries(shared)) if shared else {}) | dict(_entries(sym))
    init = dict(_entries(sym.__init__)) | {"return": ("", "", "")}
    if all(p.name in init for p in _parameters(sym)):
        return init
    fields = {}
    for base in reversed(sym.__mro__):
        tree, comments = _tree(base) if "__annotations__" in vars(base) else (ast.Module([], []), {})
        for node in tree.body:
            if isinstance(node, ast.AnnAssign):
                comment = comments.get(node.end_lineno, "")
                default = "" if node.value is None or isinstance(node.value, ast.Call) else ast.unparse(node.value)
                fields[ast.unparse(node.target)] = (_type(node.annotation), default, comment)
    return fields


def _entries(function: object) -> Iterator[tuple[str, tuple[str, str, str]]]:
    node, comments = _tree(function)
    if not isinstance(node, ast.FunctionDef):
        return
    args, several = node.args, node.lineno < node.body[0].lineno - 1  # a line for each argument
    notes = comments if several else {}
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults + args.kw_defaults
    for arg, default in zip([*plain, *args.kwonlyargs], defaults, strict=True):
        written = ast.unparse(default) if default else ""
        yield arg.arg, (_type(arg.annotation), written, notes.get((default or arg).end_lineno, ""))
    for arg in filter(None, [args.vararg, args.kwarg]):
        yield arg.arg, (_type(arg.annotation), "", notes.get(arg.end_lineno, ""))
    yield "return", (_type(node.returns), "", notes.get(node.returns.end_lineno, "") if node.returns else "")


def _tree(sym: object) -> tuple[ast.AST, dict[int, str]]:
    """The definition of `sym`, and the comment at the end of each of its lines."""
    try:
        source = textwrap.dedent(inspect.getsource(sym))
    except (OSError, TypeError):  # written by a decorator
        return ast.Module([], []), {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    return ast.parse(source).body[0], comments


def _type(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value  # a quoted type
    text = ast.unparse(node).replace("'", '"') if node else ""
    return re.sub(r', " (?=\w)', ', "', text)  # jaxtyping's " D", spaced for the linters


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of the columns that hold something."""
    keep = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[n] for n in keep) + " |" for line in lines)
