"""Reads the `.qmd` notebooks: a fenced `{python}` block is a code cell, what stands between two of them a Markdown cell."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

# nbdev's directives. All other options are Quarto's and are written `name: value`.
EXPORTS = {"export", "exporti", "exports"}
DIRECTIVES = EXPORTS | {"default_exp", "exec_doc", "filter_stream", "hide", "notest"}
LONGEST = 60  # lines of source without a word between

_OPTION = re.compile(r"\s*#\s*\|\s?(.*)")
_FENCE = re.compile(r"([\s>*+-]*|\s*\d+[.)]\s+)(`{3,}|~{3,})\s*([^`]*?)\s*$")
_IMPORT = ast.Import | ast.ImportFrom


class BuildError(Exception):
    """A failure that the reader can mend. Its text is all that is shown."""


class NotebookError(BuildError):
    """What is wrong with a notebook, and the place to mend it."""

    def __init__(self, path: Path, line: int, message: str):
        super().__init__(f"{path}:{line}: {message}")


def read(file: Path, name: Path | None = None) -> NotebookNode:
    """The notebook in `file`, with cell ids that depend on the text alone. Errors call it `name`."""
    path = name or file
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise NotebookError(path, e.object[: e.start].count(b"\n") + 1, "not UTF-8") from None
    if text.startswith("---\n"):
        raise NotebookError(path, 1, "a page begins with `# Title` and `> Subtitle`, not with front matter")
    cells = list(_cells(path, text))
    _name_cells(path, cells)
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    nb = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.validate(nb)
    return nb


def directives(cell: NotebookNode) -> dict[str, list[str]]:
    """The `#|` options of `cell`, nbdev's and Quarto's, with their arguments."""
    if cell.cell_type != "code":
        return {}
    found = (re.match(r"([\w-]+):?(.*)", option) for option in _options(cell.source))
    return {m[1]: m[2].split() for m in found if m}


def is_exported(cell: NotebookNode) -> bool:
    return not EXPORTS.isdisjoint(directives(cell))


def first_line(cell: NotebookNode) -> int:
    """The number of lines in a code cell that stand before its code."""
    lines = cell.source.split("\n")
    return next((i for i, o in enumerate(lines) if o.strip() and not _OPTION.match(o)), len(lines))


def parse(source: str) -> list[ast.stmt]:
    """The statements of a cell; none where it holds a magic, or a mistake that its run will tell."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def problems(path: Path, nb: NotebookNode) -> Iterator[str]:
    """What a reader of the page `nb` misses, hidden code and words among much source; and what nbdev trips over."""
    run = 0  # lines of source since the last word
    for cell in nb.cells:
        options, line = directives(cell), cell.metadata.qmd.line
        if cell.cell_type == "markdown":
            run *= not re.search(r"^(?!:::)\s*\S", cell.source, re.M)
            continue
        body = parse(cell.source)
        shown = options.keys().isdisjoint(DIRECTIVES - {"exports", "notest"})
        shown = shown and "false" not in options.get("echo", []) + options.get("include", [])
        if is_exported(cell) and not shown and not all(isinstance(o, _IMPORT) for o in body):
            yield f"{path}:{line}: exported code is hidden; show it (`#| exports`) or fold it (`#| code-fold: true`, too)"
        before, run = run, run + shown * (cell.source.count("\n") + 1 - first_line(cell))
        if before <= LONGEST < run:
            yield f"{path}:{line}: {run} lines of source without a word between; {LONGEST} are the most"
        # For the API entries nbdev runs cells with imports again, but not those on which the rest of such a cell depends.
        alone = all(isinstance(o, _IMPORT | ast.Try | ast.FunctionDef | ast.ClassDef) for o in body)
        imports = [o.lineno for node in body for o in ast.walk(node) if isinstance(o, _IMPORT)]
        if imports and not alone and not is_exported(cell) and any(map(is_exported, nb.cells)):
            yield f"{path}:{line + imports[0] - 1}: give imports a cell of their own; nbdev runs them twice"


def _cells(path: Path, text: str) -> Iterator[NotebookNode]:
    lines, at, fence = text.split("\n"), 0, None  # `at`: where prose begins; `fence`: the one that is open
    if title := re.match(r"\s*# .*(\n+> .*)?$", text, re.M):  # a cell of its own, of which nbdev makes front matter
        at = title[0].count("\n") + 1
        yield from _prose(lines[:at], 1)
        if title[1] and lines[at:] and lines[at].startswith(">"):
            raise NotebookError(path, at + 1, "the subtitle must be one line")
    for n, line in enumerate(lines):
        m = _FENCE.match(line)
        if m and fence is None:
            fence, start = m, n
            if re.match(r"\{python\b", m[3]):
                if m[1].strip():
                    raise NotebookError(path, n + 1, "a {python} fence needs a line of its own, outside of quotations")
                if m[3] != "{python}":
                    raise NotebookError(path, n + 1, f"write `{{python}}`, and options in `#|` lines, not {m[3]!r}")
                yield from _prose(lines[at:n], at + 1)
        elif m and m[2].startswith(fence[2]):
            if m[3]:
                raise NotebookError(path, start + 1, f"this fence is never closed; in line {n + 1} another one begins")
            if fence[3] == "{python}":
                code = [re.sub(rf"^[ \t]{{,{len(fence[1])}}}", "", o) for o in lines[start + 1 : n]]
                cell = new_code_cell("\n".join(code), metadata={"qmd": {"line": start + 2}})  # where its source begins
                _check_options(path, cell)
                yield cell
                at = n + 1
            fence = None
    if fence:
        raise NotebookError(path, start + 1, "this fence is never closed")
    yield from _prose(lines[at:], at + 1)


def _prose(lines: list[str], line: int) -> Iterator[NotebookNode]:
    """The Markdown cell of these lines, of which the first is number `line`; none if all are blank."""
    blank = next((n for n, o in enumerate(lines) if o.strip()), len(lines))
    if text := "\n".join(lines[blank:]).rstrip():
        yield new_markdown_cell(text, metadata={"qmd": {"line": line + blank}})


def _options(source: str) -> list[str]:
    """The options in the first lines of a cell, without their `#|`."""
    rows = [_OPTION.match(line) for line in source.split("\n")]
    return [m[1] for m in rows[: rows.index(None) if None in rows else None] if m]


def _check_options(path: Path, cell: NotebookNode) -> None:
    """Refuses an unknown directive, Quarto options that are no YAML, and options that stand too low to be any."""
    line, options = cell.metadata.qmd.line, _options(cell.source)
    for n, row in enumerate(cell.source.split("\n")):
        if n >= len(options) and _OPTION.match(row):
            raise NotebookError(path, line + n, f"{row.strip()!r} must stand in its cell's first lines, above all else")
    for n, option in enumerate(options):
        if not re.match(r"[\w-]+:(\s|$)|\s|-\s|$", option):
            if option.split()[0] not in DIRECTIVES:
                raise NotebookError(path, line + n, f"unknown option {option!r}")
            options[n] = ""
    try:
        yaml.safe_load("\n".join(options))
    except yaml.MarkedYAMLError as e:
        row = min(e.problem_mark.line if e.problem_mark else 0, len(options) - 1)  # the mark may be past the end
        raise NotebookError(path, line + row, f"this is no YAML: {e.problem}") from None


def _name_cells(path: Path, cells: list[NotebookNode]) -> None:
    """Gives each cell its id. The ids of exported cells stand in `hamux/`, so these are named for the first thing that
    they define and outlive an edit; all others are named for their content."""
    taken = Counter[str]()
    for cell in sorted(cells, key=lambda c: not is_exported(c)):  # exported ones choose first
        name = _defined(path, cell) if is_exported(cell) else ""
        name = name or hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        taken[name] += 1
        cell.id = name if taken[name] == 1 else f"{name}-{taken[name]}"


def _defined(path: Path, cell: NotebookNode) -> str:
    """What an exported cell is called: its label, else the first name that it defines, if an id can be made of it."""
    if label := directives(cell).get("label"):
        return label[0]
    try:
        body = ast.parse(cell.source).body
    except SyntaxError as e:
        line = cell.metadata.qmd.line + (e.lineno or 1) - 1
        raise NotebookError(path, line, f"an exported cell must be plain Python: {e.msg}") from None
    if all(isinstance(o, _IMPORT) for o in body):
        return "imports"
    found = re.search(r"^(?:(?:async )?def |class )?([A-Za-z]\w*|_\w+)(?:\(|:| =)", cell.source, re.M | re.A)
    return found[1][:60] if found else ""
