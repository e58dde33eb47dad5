"""How an API entry looks: heading, signature, docstring, arguments, methods. nbdev calls it as its `renderer`."""

import ast
import enum
import html
import importlib
import inspect
import operator
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

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


def _home(name: str) -> str | None:
    """The module of the package that has `name`, as far as nbdev's index knows: not of a notebook's second module."""
    found = NbdevLookup()[name]
    return found[1].removesuffix(".py").replace("/", ".") if isinstance(found, tuple) else None


def _exported(sym: object) -> object:
    """The same thing in the package, for Python cannot find the source of a class that a notebook defined."""
    name = getattr(sym, "__qualname__", None) or ""
    home = _home(name)
    return operator.attrgetter(name)(importlib.import_module(home)) if home else sym


def _is_private(sym: object) -> bool:
    """Whether `sym` has no name, or is of a notebook with no public name in the package nor a place in a public module."""
    name = getattr(sym, "__qualname__", None)
    if not isinstance(name, str):  # what a decorator made, and left without a name: nothing is known of it
        return True
    name = name.split(".")[0]
    if hasattr(importlib.import_module(get_config().lib_name), name):
        return False
    home = _home(name)
    if home is None:
        return sym.__module__ == "__main__"
    return any(o.startswith("_") or o == "tests" for o in [name, *home.split(".")])


class _Text(str):
    """A default that shows itself as the source has it."""

    __repr__ = str.__str__


def _signature(sym: object, name: str) -> str:
    """`name(x, beta=1.0)`, without the types, which the table of arguments has."""
    if inspect.isclass(sym) and issubclass(sym, enum.Enum):
        return name  # whose members are not made by calls
    written, plain = _written(sym), []
    for p in _parameters(sym):
        default = p.empty if p.default is p.empty else _Text(written[p.name].default or repr(p.default))
        plain.append(p.replace(annotation=p.empty, default=default))
    return f"{name}{inspect.Signature(plain)}"


def _arguments(sym: object) -> str:
    """The table of arguments, where there is something to say about them."""
    written, rows = _written(sym), []
    for p in _parameters(sym):
        star, said = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, ""), written[p.name]
        default = "" if p.default is p.empty else said.default or repr(p.default)
        name = f"<code>{star}{p.name}</code>"  # in backticks, nbdev would link it to whatever has this name
        rows.append([name, _code(said.type), _code(default), _note(said.note)])
    if written["return"].type not in ("", "None"):
        rows.append(["*returns*", _code(written["return"].type), "", _note(written["return"].note)])
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


def _parameters(sym: object) -> list[inspect.Parameter]:
    """The parameters that a caller gives."""
    found = list(inspect.signature(sym).parameters.values())
    return found[1:] if found and found[0].name in ("self", "cls") else found


class _Written(NamedTuple):
    """What the source says of an argument or a field."""

    type: str = ""
    default: str = ""
    note: str = ""


def _written(sym: object) -> defaultdict[str, _Written]:
    """What the source says of each argument or field, and of `return`."""
    found = defaultdict[str, _Written](_Written)
    for source in _sources(sym):
        try:
            text = textwrap.dedent(inspect.getsource(source))
        except (OSError, TypeError):  # written by a decorator
            continue
        lines = text.splitlines()
        for name, kind, default, last in _parts(ast.parse(text).body[0]):
            rest = lines[last.end_lineno - 1].encode()[last.end_col_offset :].decode() if last else ""
            note = re.match(r"[,:\s]*#\s*(.*)", rest)
            found[name] = _Written(_type(kind), ast.unparse(default) if default else "", note[1] if note else "")
    return found


def _sources(sym: object) -> list[object]:
    """Whose source says something of the arguments of `sym`; the last one counts."""
    if not inspect.isclass(sym):
        shared = getattr(sym, "__delwrap__", None)  # the function to which it passes on its keywords, as in fastcore
        return [shared, sym] if shared else [sym]
    fields = [base for base in reversed(sym.__mro__) if "__annotations__" in vars(base)]
    return [*fields, sym.__init__]  # which has no source if the fields make it


def _parts(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None, ast.expr | None, ast.AST | None]]:
    """The name, type and default of each argument of a function or field of a class, and what stands last of these."""
    if isinstance(node, ast.ClassDef):
        for field in (o for o in node.body if isinstance(o, ast.AnnAssign)):
            default = None if isinstance(field.value, ast.Call) else field.value
            yield ast.unparse(field.target), field.annotation, default, field
    elif isinstance(node, ast.FunctionDef):
        args, plain = node.args, [*node.args.posonlyargs, *node.args.args]
        defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults + args.kw_defaults
        several = filter(None, [args.vararg, args.kwarg])
        for arg, default in [*zip([*plain, *args.kwonlyargs], defaults, strict=True), *((o, None) for o in several)]:
            yield arg.arg, arg.annotation, default, default or arg
        yield "return", node.returns, None, node.returns


def _type(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value  # a quoted type
    text = ast.unparse(node).replace("'", '"') if node else ""
    return re.sub(r', " (?=\w)', ', "', text)  # jaxtyping's " D", spaced for the linters


def _note(note: str) -> str:
    return re.sub(r'"[^"]*"', r"`\g<0>`", note).replace("|", "\\|")  # a shape, as in "K D", is code


def _code(text: str) -> str:
    """Code in a table. Where it has a bar, a backslash before that is right for some readers of Markdown only."""
    return (
        f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>" if "|" in text else text and f"`{text}`"
    )


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of the columns that hold something."""
    keep = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[n] for n in keep) + " |" for line in lines)
