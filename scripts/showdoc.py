"""How an API entry looks: heading, signature, docstring, arguments, methods. nbdev calls it as its `renderer`."""

import ast
import inspect
import textwrap
from collections.abc import Iterator

from fastcore.docments import ShowDocRenderer, docments
from nbdev.doclinks import NbdevLookup


class Entry(ShowDocRenderer):
    """The Markdown of one entry; types and defaults stand there as the source has them."""

    def _repr_markdown_(self) -> str:
        source = NbdevLookup().code(self.fn)
        parts = [f"{'#' * self.title_level} {self.nm}", "::: {.api}"]
        if source:
            parts.append(f'[source]({source}){{.api-source title="The source of {self.nm}"}}')
        parts.append(f"```python\n{_signature(self.sym, self.nm)}\n```")
        parts += [inspect.cleandoc(self.docs or ""), _arguments(self.sym)]
        if inspect.isclass(self.sym):
            parts.append(_methods(self.sym))
        return "\n\n".join(filter(None, [*parts, ":::"])) + "\n"


def _signature(sym: object, name: str) -> str:
    """`name(x, beta=1.0)`, without the types, which the table of arguments has."""
    written, words, kinds = _written(sym), [], inspect.Parameter
    parameters = _parameters(sym)
    for p in parameters:
        if p.kind == kinds.KEYWORD_ONLY and "*" not in words and not any(q.kind == kinds.VAR_POSITIONAL for q in parameters):
            words.append("*")
        star = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={written.get(p.name, ('', ''))[1] or repr(p.default)}"
        words.append(f"{star}{p.name}{default}")
    line = f"{name}({', '.join(words)})"
    return line if len(line) <= 80 else f"{name}(\n" + "".join(f"    {word},\n" for word in words) + ")"


def _arguments(sym: object) -> str:
    """The table of arguments, where there is something to say about them."""
    notes, written = docments(sym, full=True), _written(sym)
    rows = []
    for p in _parameters(sym):
        kind, default = written.get(p.name, ("", ""))
        default = "" if p.default is p.empty else default or repr(p.default)
        rows.append([f"`{p.name}`", _code(kind), _code(default), _note(notes, p.name)])
    returned = written.get("return", ("", ""))[0]
    if returned not in ("", "None"):
        rows.append(["*returns*", _code(returned), "", _note(notes, "return")])
    if not any(kind or note for _, kind, _, note in rows):
        return ""
    return _table(["Argument", "Type", "Default", "Meaning"], rows)


def _methods(cls: type) -> str:
    """What a class does: its public methods and properties, each with the first sentence of its docstring."""
    rows = []
    for name in vars(cls):
        member, static = getattr(cls, name), inspect.getattr_static(cls, name)
        if (name.startswith("_") and name != "__call__") or not (callable(member) or isinstance(static, property)):
            continue
        shown = name if isinstance(static, property) else _signature(member, "" if name == "__call__" else name)
        doc = inspect.cleandoc(member.__doc__ or "").split("\n\n")[0]
        anchor = f'<a id="{cls.__name__.lower()}.{name.lower()}"></a>'  # where nbdev's links to it lead
        rows.append([anchor + _code(" ".join(shown.split()).replace("( ", "(").replace(", )", ")")), " ".join(doc.split())])
    return _table(["Method", "Meaning"], rows) if rows else ""


def _note(notes: dict, name: str) -> str:
    note = notes[name].docment if name in notes else ""
    return (note or "").replace("|", "\\|")


def _parameters(sym: object) -> list[inspect.Parameter]:
    """The parameters that a caller gives."""
    found = list(inspect.signature(sym).parameters.values())
    return found[1:] if found and found[0].name in ("self", "cls") else found


def _written(sym: object) -> dict[str, tuple[str, str]]:
    """Name -> (type, default) of each parameter or field, as the source has them; `return` too."""
    if not inspect.isclass(sym):
        return dict(_pairs(sym))
    if "__init__" in vars(sym) and not hasattr(vars(sym)["__init__"], "__dataclass_params__"):
        own = dict(_pairs(sym.__init__))
        own.pop("return", None)
        if own:
            return own
    fields = {}
    for base in reversed(sym.__mro__):
        for node in _tree(base).body if "__annotations__" in vars(base) else []:
            if isinstance(node, ast.AnnAssign):
                fields[ast.unparse(node.target)] = (_unparse(node.annotation), "")
    return fields


def _pairs(function: object) -> Iterator[tuple[str, tuple[str, str]]]:
    node = _tree(function)
    if not isinstance(node, ast.FunctionDef):
        return
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults + args.kw_defaults
    for arg, default in zip([*plain, *args.kwonlyargs], defaults, strict=True):
        yield arg.arg, (_unparse(arg.annotation), _unparse(default))
    for arg in filter(None, [args.vararg, args.kwarg]):
        yield arg.arg, (_unparse(arg.annotation), "")
    yield "return", (_unparse(node.returns), "")


def _tree(sym: object) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(sym))).body[0]
    except (OSError, TypeError):  # written by a decorator
        return ast.Module([], [])


def _unparse(node: ast.AST | None) -> str:
    text = ast.unparse(node) if node else ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # a quoted type
        text = node.value
    return text.replace("'", '"')


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of the columns that hold something."""
    keep = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[n] for n in keep) + " |" for line in lines)
