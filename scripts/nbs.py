"""Reads the `.qmd` notebooks: `read` makes the Jupyter notebook, `text` gives the `.qmd` back, character for character.

A fenced block whose info string is `{python ...}` becomes a code cell; everything between two of them
is one Markdown cell. What a notebook format has no place for (the fences, blank lines, indentation)
is kept in each cell's metadata under `qmd`, with the line at which its source begins.
"""

import ast
import hashlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from markdown_it import MarkdownIt
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

# nbdev's directives. All other options are Quarto's and are written `name: value`.
EXPORTS = {"export", "exporti", "exports"}
DIRECTIVES = EXPORTS | {"default_exp", "exec_doc", "filter_stream", "hide", "hide_line", "notest"}

_CELL = re.compile(r"\{python(?:[ ,]+(?P<options>.*?))?[ ,]*\}")
_OPTION = re.compile(
    r"""(?:(?P<key>[\w-]+)[ ]*=[ ]*(?P<value>"[^"]*"|'[^']*'|[^\s,"']+)|\#?(?P<label>[\w-]+))(?:[ ,]+|$)"""
)
_LOOKS_LIKE_CELL = re.compile(r"[\s>*+-]*(?:\d+[.)]\s+)?(?:`{3,}|~{3,})\s*\{python\b[^}]*\}\s*$")


class NotebookError(Exception):
    """A notebook that cannot be read: `message` and the place to mend it."""

    def __init__(self, path: Path, line: int, message: str):
        super().__init__(f"{path}:{line}: {message}")


def read(file: Path, name: Path | None = None) -> NotebookNode:
    """The notebook in the `.qmd` file `file`, with cell ids that depend on the text alone. Errors call it `name`."""
    path = name or file
    try:
        raw = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as e:
        raise NotebookError(path, e.object[: e.start].count(b"\n") + 1, "not UTF-8") from None
    crlf = [line.endswith("\r") for line in raw.split("\n")[:-1]]
    if len(set(crlf)) > 1:
        raise NotebookError(path, crlf.index(not crlf[0]) + 1, "mixed line ends; use one kind throughout")
    cells, tail = _cells(path, raw.replace("\r\n", "\n"))
    _name_cells(path, cells)
    _check_imports(path, cells)
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "python3", "language": "python"},
        "qmd": {"tail": tail, "crlf": any(crlf)},
    }
    nb = new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(nb)
    return nb


def text(nb: NotebookNode) -> str:
    """The `.qmd` from which `nb` was read (blank lines of an indented cell lose their indentation)."""
    out = []
    for cell in nb.cells:
        qmd = cell.metadata.qmd
        source = "\n".join(cell.source.split("\n")[qmd.get("options", 0) :])
        out += [qmd.open, textwrap.indent(source, qmd.get("indent", "")), qmd.close]
    out = "".join(out) + nb.metadata.qmd.tail
    return out.replace("\n", "\r\n") if nb.metadata.qmd.crlf else out


def directives(cell: NotebookNode) -> dict[str, list[str]]:
    """The `#|` directives of `cell` and their arguments."""
    if cell.cell_type != "code":
        return {}
    rows = (re.match(r"\s*#\s*\|\s*([\w-]+):?(.*)", line) for line in _option_lines(cell.source))
    return {m[1]: m[2].split() for m in rows if m}


def _cells(path: Path, text: str) -> tuple[list[NotebookNode], str]:
    """The cells of `text`, and the blank lines that follow the last one."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    cells: list[NotebookNode] = []
    at = _front_matter(path, lines)
    if at:
        source = "".join(lines[:at])
        cells.append(_place(new_raw_cell(source.rstrip()), 1, "", source[len(source.rstrip()) :]))
    blank = ""  # blank lines that belong to the cell to come
    for start, stop, cell in [*_code_cells(path, lines, at), (len(lines), len(lines), None)]:
        blank = "".join(lines[at:start])
        if blank.strip():
            cells += _prose(path, blank, at + 1, is_first=all(c.cell_type == "raw" for c in cells))
            blank = ""
        if cell is not None:
            cell.metadata.qmd.open = blank + cell.metadata.qmd.open
            cells.append(cell)
        at = stop
    return cells, blank


def _prose(path: Path, prose: str, line: int, is_first: bool) -> list[NotebookNode]:
    """The Markdown cell that holds `prose`: two if it begins with the page's title, for nbdev makes the
    title's whole cell into front matter."""
    before, body, after = re.fullmatch(r"((?:[ \t]*\n)*)(.*?)(\s*)", prose, re.S).groups()
    line += before.count("\n")
    title = is_first and re.fullmatch(r"(# [^\n]*(?:\n+(>)[^\n]*)?)(\n*)(.*)", body, re.S)
    if not title or not title[4]:
        return [_place(new_markdown_cell(body), line, before, after)]
    rest = line + (title[1] + title[3]).count("\n")
    if title[2] and title[3] == "\n" and title[4].startswith(">"):
        raise NotebookError(path, rest, "the subtitle must be one line")
    return [
        _place(new_markdown_cell(title[1]), line, before, title[3]),
        _place(new_markdown_cell(title[4]), rest, "", after),
    ]


def _front_matter(path: Path, lines: list[str]) -> int:
    """The number of lines that the YAML front matter takes, 0 if there is none."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        raise NotebookError(path, 1, "the front matter is never closed by '---'")
    _yaml(path, 2, "".join(lines[1:end]))
    return end + 1


def _code_cells(path: Path, lines: list[str], skip: int) -> Iterator[tuple[int, int, NotebookNode]]:
    """Where each `{python}` fence starts and stops, and its cell."""
    tokens = MarkdownIt("commonmark").parse("\n" * skip + "".join(lines[skip:]))
    seen: set[int] = set()  # lines on which an opening fence is rightly no cell of its own
    for token in tokens:
        start, stop = token.map or (0, 0)
        if token.type == "html_block" and token.content.lstrip().startswith("<!--"):
            seen.update(range(start, stop))
        if token.type != "fence":
            continue
        seen.update(range(start, stop))
        mark = token.markup[0]
        if stop - start < 2 or not re.search(rf"{mark}{{{len(token.markup)},}}[ \t]*\n?$", lines[stop - 1]):
            raise NotebookError(path, start + 1, "this fence is never closed")
        info = token.info.strip()
        if re.match(r"\{python\b", info):
            yield start, stop, _code_cell(path, lines, start, stop, info, token.content)
    for i, line in enumerate(lines):
        if i >= skip and i not in seen and _LOOKS_LIKE_CELL.match(line):
            message = "this {python} fence is no cell: set blank lines around it, and less indentation"
            raise NotebookError(path, i + 1, message)


def _code_cell(path: Path, lines: list[str], start: int, stop: int, info: str, content: str) -> NotebookNode:
    indent = re.match(r"\s*", lines[start])[0]
    if lines[start][len(indent)] not in "`~":
        raise NotebookError(path, start + 1, "a {python} fence needs a line of its own, outside of quotations")
    info = _CELL.fullmatch(info)
    if not info:
        raise NotebookError(path, start + 1, "cannot read the options of this {python} fence")
    options = _fence_options(path, start + 1, info["options"] or "")
    source = content.removesuffix("\n")
    cell = new_code_cell("\n".join([*options, *([source] if content else [])]))
    _place(cell, start + 2 - len(options), lines[start], "\n" * bool(content) + lines[stop - 1])
    cell.metadata.qmd.update(indent=indent, options=len(options))
    _check_options(path, cell)
    return cell


def _fence_options(path: Path, line: int, options: str) -> list[str]:
    """`label, echo=false` as `#|` lines."""
    rows, at = [], 0
    while at < len(options):
        m = _OPTION.match(options, at)
        if not m:
            raise NotebookError(path, line, f"cannot read the fence option {options[at:]!r}; write `name=value`")
        value = {"TRUE": "true", "FALSE": "false"}.get(m["value"], m["value"])
        rows.append(f"#| label: {m['label']}" if m["label"] else f"#| {m['key']}: {value}")
        at = m.end()
    return rows


def _option_lines(source: str) -> list[str]:
    lines = source.split("\n")
    return lines[: next((i for i, o in enumerate(lines) if not re.match(r"\s*#\s*\|", o)), len(lines))]


def _check_options(path: Path, cell: NotebookNode) -> None:
    """Refuses an unknown directive, and Quarto options that are no YAML."""
    options = []
    for i, line in enumerate(_option_lines(cell.source)):
        option = re.sub(r"\s*#\s*\|\s?", "", line, count=1)
        if re.match(r"[\w-]+:(\s|$)|\s|-\s|$", option):
            options.append(option)
        elif option.split()[0] in DIRECTIVES:
            options.append("")
        else:
            raise NotebookError(path, cell.metadata.qmd.line + i, f"unknown option {option!r}")
    _yaml(path, cell.metadata.qmd.line, "\n".join(options))


def _yaml(path: Path, line: int, text: str) -> None:
    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        row = min(mark.line if mark else 0, text.rstrip().count("\n"))  # the mark may be past the end
        raise NotebookError(path, line + row, f"this is no YAML: {e.problem}") from None
    if value is not None and not isinstance(value, dict):
        raise NotebookError(path, line, f"expected `name: value`, got {text.strip()!r}")


def _place(cell: NotebookNode, line: int, open: str, close: str) -> NotebookNode:
    cell.metadata["qmd"] = NotebookNode(line=line, open=open, close=close)
    return cell


def _name_cells(path: Path, cells: list[NotebookNode]) -> None:
    """Gives each cell its id. The ids of exported cells stand in `hamux/`, so these are named for what
    they define and outlive an edit; all others are named for their content."""
    taken: set[str] = set()
    for cell in sorted(cells, key=lambda c: not _is_exported(c)):  # exported ones choose first
        name = _defined(path, cell) if _is_exported(cell) else ""
        name = name or hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        count = 1
        while (id := name if count == 1 else f"{name}-{count}") in taken:
            count += 1
        taken.add(id)
        cell.id = id


def _check_imports(path: Path, cells: list[NotebookNode]) -> None:
    """Refuses cells that import and do more. For the API entries of a notebook that exports, nbdev runs the cells
    with imports once more, but not those on which the rest of such a cell depends."""
    if not any(map(_is_exported, cells)):
        return
    for cell in (c for c in cells if c.cell_type == "code" and not _is_exported(c)):
        try:
            body = ast.parse(cell.source).body
        except SyntaxError:  # a magic, or a mistake that the run will tell
            continue
        imports = [o for node in body for o in ast.walk(node) if isinstance(o, ast.Import | ast.ImportFrom)]
        alone = (ast.Import, ast.ImportFrom, ast.Try, ast.FunctionDef, ast.ClassDef)  # these do nothing, or import
        if imports and not all(isinstance(o, alone) for o in body):
            line = cell.metadata.qmd.line + imports[0].lineno - 1
            raise NotebookError(path, line, "give imports a cell of their own; nbdev runs them twice in this notebook")


def _is_exported(cell: NotebookNode) -> bool:
    return not EXPORTS.isdisjoint(directives(cell))


def _defined(path: Path, cell: NotebookNode) -> str:
    """What an exported cell is called: its label, else the first name that it defines."""
    if label := directives(cell).get("label"):
        return re.sub(r"[^\w-]", "-", label[0], flags=re.ASCII)[:60]
    try:
        body = ast.parse(cell.source).body
    except SyntaxError as e:
        line = cell.metadata.qmd.line + (e.lineno or 1) - 1
        raise NotebookError(path, line, f"an exported cell must be plain Python: {e.msg}") from None
    for node in body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=[*_, ast.Name(id="patch")], args=args) if args.args:
                name = f"{ast.unparse(args.args[0].annotation or args.args[0])}-{name}"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case _:
                continue
        return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:60]
    return "imports" if any(isinstance(o, ast.Import | ast.ImportFrom) for o in body) else ""
