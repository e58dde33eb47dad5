"""Resolves the citations, cross references and links of a page with Pandoc, and checks them.

All Markdown of a notebook goes through Pandoc as one document. `@key` becomes what Pandoc's citation processor makes of it,
`@fig-x`, `@eq-x` and `@sec-x` become links, and what these name gets its number. Quarto, smalldocs and GitHub then read the
same plain Markdown. A reference stays on its page; to another leads a link, `[text](04_dynamics.qmd#sec-x)`.
"""

from __future__ import annotations

import ast
import base64
import copy
import functools
import html
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypandoc
import yaml

from scripts import nbs

NAMES = {"fig": "Figure", "eq": "Equation", "sec": "Section"}
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}  # best first
READ = "markdown-smart-yaml_metadata_block-pandoc_title_block"
SITE = "markdown-citations-smart-raw_attribute-simple_tables-multiline_tables-grid_tables"
GITHUB = "gfm-tex_math_gfm+tex_math_dollars"

_LABEL = re.compile(r"\{#((?:fig|eq|sec)-[\w-]+)\}")
_MARK = re.compile(r"<!-- text (\d+) -->")  # stands before each of a page's texts


def check(books: dict[Path, dict], bib: Path) -> list[str]:
    """What is wrong with the citations, references and links of notebooks that are pages, by file and line."""
    works = {work["id"] for work in json.loads(pypandoc.convert_file(str(bib), "csljson", "bibtex"))}
    with ThreadPoolExecutor() as pool:
        pages = dict(zip(books, pool.map(_foretold, books.values())))
    names = {name: page for path, page in pages.items() for name in (path.name, address(path.stem))}
    found = []
    for path, page in pages.items():
        for cell, sought, text in page.faults(names, works, bib):
            row = next((n for n, row in enumerate(_join(cell["source"]).splitlines()) if sought in row), 0)
            found.append(f"{path}:{cell['metadata']['qmd']['line'] + row}: {text}")
    return list(dict.fromkeys(found))


def resolve(
    nb: dict,  # a notebook as nbdev has processed it; it is not changed
    name: str,  # what errors call it
    bib: Path,  # the BibTeX file
    pictures: Path,  # the folder, beside the page, that takes captioned pictures
    to: str = GITHUB,  # Pandoc's name for the Markdown to write
    link: Callable[[str], str] = str,  # where a link leads in what is written
) -> dict:
    """The notebook in plain Markdown, with a list of the cited works at its end."""
    nb = copy.deepcopy(nb)
    for cell in nb["cells"]:
        _caption(cell, name, pictures)
    page, args = _Page(nb), ["--wrap=none"]
    blocks = page.edit(page.doc["blocks"], link)
    if any(node["t"] == "Cite" for _, node in _nodes(blocks)):
        blocks.append({"t": "Header", "c": [2, ["", [], []], [_str("References")]]})
        args += ["--citeproc", f"--bibliography={bib}", "--metadata=link-citations"]
    text = pypandoc.convert_text(json.dumps({**page.doc, "blocks": blocks}), to, "json", args)
    text = re.sub(r"^([ >]*`{3,}) (?=\w)", r"\1", text, flags=re.M)  # ```python, which all take for a language
    *parts, rest = (part.strip("\n") for part in _MARK.split(text.replace("\r\n", "\n"))[2::2])
    if len(parts) != len(page.slots):
        raise nbs.BuildError(f"{name}: a fence or a comment is not closed")
    for (_, holder, key), part in zip(page.slots, parts):
        holder[key] = part
    if rest:  # the works, and notes
        nb["cells"].append({"cell_type": "markdown", "id": "references", "metadata": {}, "source": rest})
    return nb


def address(stem: str) -> str:
    """Where nbdev publishes a notebook: it drops the number."""
    return re.sub(r"^\d+[a-z0-9]*_", "", stem) + ".html"


class _Page:
    """One notebook as a Pandoc document, and what it defines and refers to."""

    def __init__(self, nb: dict):
        self.slots = [(cell, holder, key) for cell in nb["cells"] for holder, key in _slots(cell)]
        texts = [_join(holder[key]) for _, holder, key in self.slots]
        text = "\n".join(f"<!-- text {n} -->\n\n{text}\n" for n, text in enumerate([*texts, ""]))
        text = re.sub(r"\[\[(`[^`]+`)\]\([^()]*\)\]\(", r"[\1](", text)  # nbdev links names even within links
        self.doc = json.loads(_read(text))
        self.labels: dict[str, list] = {}  # label -> its number, or a section's title, as Pandoc has it
        self.twice: list[tuple[int, str]] = []  # labels that are given again, each with the number of its text
        self.anchors = {"", *(name for cell in nb["cells"] for name in _exports(cell))}  # where links may lead
        for n, node in _nodes(self.doc["blocks"]):
            match node:
                case {"t": "Header", "c": [_, [label, *_], title]} if label.startswith("sec-"):
                    plain = [o for part in title for o in (part["c"][1] if part["t"] == "Link" else [part])]
                    self._label(n, label, plain)  # without links, for it will be in one
                case {"t": "Figure", "c": [[label, *_], *_]} if label.startswith("fig-"):
                    self._label(n, label)
                case {"t": "Para", "c": [{"t": "Math"}, {"t": "Space"}, {"t": "Str", "c": mark}]} if _is_mark(mark):
                    self._label(n, mark[2:-1])
                case {"t": "Header", "c": [_, [label, *_], _]} | {"c": [[str(label), list(), list()], *_]}:
                    self.anchors.add(label)
                case {"t": "RawInline" | "RawBlock", "c": [_, text]}:
                    self.anchors |= set(re.findall(r'\bid="([^"]+)"', text))
        self.anchors |= self.labels.keys()

    def _label(self, n: int, label: str, title: list | None = None) -> None:
        if label in self.labels:
            self.twice.append((n, label))
        kind = label.partition("-")[0]
        self.labels[label] = title or [_str(str(1 + sum(o.startswith(f"{kind}-") for o in self.labels)))]

    def faults(self, pages: dict[str, _Page], works: set[str], bib: Path) -> Iterator[tuple[dict, str, str]]:
        """Everything that is wrong: its cell, what to look for there, and what to say."""
        for n, label in self.twice:
            yield self.slots[n][0], label, f"the label {label} is given twice"
        for n, node in _nodes(self.doc["blocks"]):
            cell = self.slots[n][0] if n < len(self.slots) else {}
            match node:
                case {"t": "Cite", "c": [cites, _]}:
                    keys = [cite["citationId"] for cite in cites]
                    if len({_is_label(key) for key in keys}) > 1:
                        yield cell, keys[0], f"@{keys[0]} mixes citations and cross references; write two brackets"
                        continue
                    for key in keys:
                        if _is_label(key) and key not in self.labels:
                            other = next((name for name, page in pages.items() if key in page.labels), "")
                            hint = other and f" but of another; write [text]({other}#{key})"
                            yield cell, f"@{key}", f"@{key} is no label of this page{hint}"
                        elif not _is_label(key) and key not in works:
                            yield cell, f"@{key}", f"@{key} is not in {bib.name}; code belongs in backticks"
                case {"t": "Link", "c": [_, _, [url, _]]} if not any(urlsplit(url)[:2]):
                    place, anchor = urlsplit(url).path.removeprefix("/"), unquote(urlsplit(url).fragment)
                    page = pages.get(place) if place else self
                    if page is None and not (bib.parent / place).is_file():
                        yield cell, url, f"the link {url} leads nowhere"
                    elif page and anchor not in page.anchors:
                        yield cell, url, f"the link {url} leads to no anchor of that page"
                case {"t": "Str", "c": text} if (m := _LABEL.search(text)) and m[1] not in self.labels:
                    yield cell, m[0], f"{m[0]} is read as no label; give it and its equation a paragraph of their own"

    def edit(self, node: object, link: Callable[[str], str]) -> object:
        """A copy of a part of the document in which nothing is left to resolve, from the inside out."""
        if isinstance(node, dict):
            return {key: self.edit(value, link) for key, value in node.items()}
        if not isinstance(node, list):
            return node
        items = (self.edit(item, link) for item in node)
        return [new for item in items for new in (self._plain(item, link) if isinstance(item, dict) else [item])]

    def _plain(self, node: dict, link: Callable[[str], str]) -> list[dict]:
        """What stands in the place of one node."""
        match node:
            case {"t": "Cite", "c": [cites, _]} if _is_label(cites[0]["citationId"]):
                return [o for n, cite in enumerate(cites) for o in [_str(", ")] * (n > 0) + self._refer(cite)]
            case {"t": "Link", "c": [attr, text, [url, title]]}:
                return [{"t": "Link", "c": [attr, text, [link(url), title]]}]
            case {"t": "Figure", "c": [[label, *_], [_, caption], [{"c": [{"t": "Image", "c": [attr, _, [src, _]]}]}]]}:
                given = [("src", src), *attr[2], ("class", "img-fluid")]
                shown = " ".join(f'{key.removeprefix("fig-")}="{html.escape(value)}"' for key, value in given if value)
                name = f'id="{label}" ' if label else ""
                number = [_str("Figure\u00a0"), *self.labels[label], _str(": ")] if label else []
                text = [{"t": "Para", "c": number * (n == 0) + block["c"]} for n, block in enumerate(caption)]
                head = _html(f'<figure {name}class="figure">\n<img {shown}>\n<figcaption>')
                return [head, *text, _html("</figcaption>\n</figure>")]
            case {"t": "Para", "c": [{"t": "Math", "c": [kind, tex]}, _, {"t": "Str", "c": mark}]} if _is_mark(mark):
                label = mark[2:-1]
                tex = f"\n{tex.strip()} \\tag{{{self.labels[label][0]['c']}}}\n"
                maths = {"t": "Para", "c": [{"t": "Math", "c": [kind, tex]}]}
                return [{"t": "Div", "c": [[label, ["equation"], []], [maths]]}]
        return [node]

    def _refer(self, cite: dict) -> list[dict]:
        """A link to what a label names."""
        label = cite["citationId"]
        kind, shown = label.partition("-")[0], self.labels.get(label, [_str("?")])
        if cite["citationMode"]["t"] != "SuppressAuthor":
            before = cite["citationPrefix"] or [_str(NAMES[kind])]
            shown = [_str("“"), *shown, _str("”")] if kind == "sec" else [*before, _str("\u00a0"), *shown]
        return [{"t": "Link", "c": [["", [], []], shown, [f"#{label}", ""]]}, *cite["citationSuffix"]]


# ------------------------------------------------------------------ Pandoc's documents


@functools.cache
def _read(text: str) -> str:
    return pypandoc.convert_text(text, "json", READ)


def _nodes(tree: object) -> Iterator[tuple[int, dict]]:
    """Every element in reading order, with the number of the text that it stands in."""
    at, stack = 0, [tree]
    while stack:
        match stack.pop():
            case list(items):
                stack += reversed(items)
            case {"t": str(kind)} as node:
                if kind == "RawBlock" and (m := _MARK.fullmatch(node["c"][1].strip())):
                    at = int(m[1])
                yield at, node
                stack.append(node.get("c"))
            case dict(node):
                stack += reversed(node.values())


def _is_label(key: str) -> bool:
    return key.partition("-")[0] in NAMES and "-" in key


def _is_mark(text: str) -> bool:
    """Whether this, after an equation, is its label."""
    return bool(_LABEL.fullmatch(text))


def _str(text: str) -> dict:
    return {"t": "Str", "c": text}


def _html(text: str) -> dict:
    return {"t": "RawBlock", "c": ["html", text]}


# ------------------------------------------------------------------ notebooks


def _slots(cell: dict) -> Iterator[tuple[dict, str]]:
    """Where the Markdown of a cell and of its outputs is."""
    if cell["cell_type"] == "markdown":
        yield cell, "source"
    datas = (out.get("data", {}) for out in cell.get("outputs", []))
    yield from ((data, "text/markdown") for data in datas if "text/markdown" in data)


def _foretold(nb: dict) -> _Page:
    """A notebook that has not run, with the captions and the docstrings that its cells will show."""
    nb = copy.deepcopy(nb)
    for cell in (cell for cell in nb["cells"] if cell["cell_type"] == "code"):
        options, _ = _options(_join(cell["source"]))
        caption = [_figure(options, "picture")] if "fig-cap" in options else []
        cell["outputs"] = [_markdown(text) for text in [*caption, *_exports(cell).values()]]
    return _Page(nb)


def _exports(cell: dict) -> dict[str, str]:
    """The API entries to which a cell leads, by their anchors, with what they will say."""
    source = _join(cell["source"]) if cell["cell_type"] == "code" else ""
    found = {name.lower(): "" for name in re.findall(r"\bshow_doc\(([\w.]+)", source)}
    if re.search(r"^#\|\s*exports?\b(?!\s*tests)", source, re.M):
        for node in (o for o in ast.parse(source).body if isinstance(o, ast.ClassDef | ast.FunctionDef)):
            members = [o for o in node.body if isinstance(o, ast.FunctionDef) and isinstance(node, ast.ClassDef)]
            found |= {f"{node.name}.{o.name}".lower(): ast.get_docstring(o) or "" for o in members}
            found[node.name.lower()] = ast.get_docstring(node) or ""
    return {name: "" if re.search(r"(^|\.)_", name) else text for name, text in found.items()}


def _caption(cell: dict, name: str, pictures: Path) -> None:
    """Writes a picture that has a caption into a file, and both as Markdown."""
    options, code = _options(_join(cell["source"])) if cell["cell_type"] == "code" else ({}, "")
    if "fig-cap" not in options:
        return
    shown = [out for out in cell["outputs"] if PICTURES.keys() & out.get("data", {}).keys()]
    label = options.get("label") or cell["id"]
    if len(shown) != 1:
        raise nbs.BuildError(f"{name}: the cell {label!r} has a caption, so it shows one picture, not {len(shown)}")
    kind = next(kind for kind in PICTURES if kind in shown[0]["data"])
    file, data = pictures / f"{label}.{PICTURES[kind]}", _join(shown[0]["data"][kind])
    pictures.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if kind == "image/svg+xml" else base64.b64decode(data))
    width = shown[0].get("metadata", {}).get(kind, {}).get("width")
    figure = _figure(options, f"{pictures.name}/{file.name}", f" width={width}" if width else "")
    cell["outputs"] = [*(out for out in cell["outputs"] if out not in shown), _markdown(figure)]
    kept = {key: value for key, value in options.items() if key not in ("label", "fig-cap", "fig-alt")}
    cell["source"] = "".join(f"#| {o}\n" for o in yaml.safe_dump(kept).splitlines() if kept) + code


def _figure(options: dict, src: str, width: str = "") -> str:
    """The Markdown of a picture with a caption."""
    label, alt = options.get("label", ""), html.escape(str(options.get("fig-alt", "")))
    return f'![{options["fig-cap"]}]({src}){{{label and f"#{label}"} fig-alt="{alt}"{width}}}'


def _markdown(text: str) -> dict:
    return {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": text}}


def _options(source: str) -> tuple[dict, str]:
    """Quarto's `#| key: value` options at the top of a cell, and the code below them."""
    head = re.match(r"(?:#\|[^\n]*(?:\n|\Z))*", source)[0]
    lines = [line[2:].removeprefix(" ") for line in head.splitlines() if not re.fullmatch(r"#\|[\s\w.]*", line)]
    return yaml.safe_load("\n".join(lines)) or {}, source[len(head) :]  # nbdev's directives have no colon


def _join(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
