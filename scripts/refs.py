"""Resolves the citations, cross references and links of a page with Pandoc, and checks them.

All Markdown of a notebook goes through Pandoc as one document. `@key` becomes what Pandoc's citation processor makes of it,
`@fig-x`, `@tbl-x`, `@eq-x` and `@sec-x` become links, and what these name gets its number. Quarto, smalldocs and GitHub then
read the same plain Markdown. A reference stays on its page; to another leads a link, `[text](04_dynamics.qmd#sec-x)`.
"""

from __future__ import annotations

import ast
import base64
import copy
import difflib
import functools
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypandoc
import yaml

NAMES = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}  # best first
READ = "markdown-smart-yaml_metadata_block-pandoc_title_block"
SITE = "markdown-citations-smart-raw_attribute-simple_tables-multiline_tables-grid_tables"
GITHUB = "gfm-tex_math_gfm+tex_math_dollars"

_LABEL = re.compile(r"\{#((?:fig|tbl|eq|sec)-[\w-]+)\}")
_MARK = re.compile(r"<!-- text (\d+) -->")  # stands before each of a page's texts


class RefError(ValueError):
    """Citations, references or links that nothing answers to, one a line."""


def check(pages: dict[Path, dict], bib: Path) -> list[str]:
    """What is wrong with the citations, references and links of the notebooks that are pages, by file and line."""
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(_Page, pages, pages.values()))
    return [problem for page in read for problem in page.problems(bib, read)]


def resolve(
    nb: dict,  # a notebook as nbdev has processed it; it is not changed
    name: str,  # what errors call it
    bib: Path,  # the BibTeX file
    pictures: Path,  # the folder, beside the page, that takes captioned pictures
    to: str = GITHUB,  # Pandoc's name for the Markdown to write
    link: Callable[[str], str] = str,  # where a link leads in what is written
) -> dict:
    """The notebook in plain Markdown, with a list of the cited works at its end."""
    page = _Page(Path(name), nb, pictures)
    if problems := list(page.problems(bib)):
        raise RefError("\n".join(problems))
    return page.written(bib, to, link)


def address(stem: str) -> str:
    """Where nbdev publishes a notebook: it drops the number."""
    return re.sub(r"^\d+[a-z0-9]*_", "", stem) + ".html"


class _Page:
    """One notebook as a Pandoc document, and what it defines and refers to."""

    def __init__(self, path: Path, nb: dict, pictures: Path | None = None):
        self.path, self.nb = path, copy.deepcopy(nb)
        for cell in self.nb["cells"]:
            self._caption(cell, pictures)
        self.slots = [(cell, slot) for cell in self.nb["cells"] for slot in _slots(cell)]
        texts = [_join(holder[key]) for _, (holder, key) in self.slots]
        docs = [(cell, text) for cell in self.nb["cells"] for text in _exports(cell).values() if not pictures]
        self.cells = [cell for cell, _ in self.slots + docs]
        texts = [f"<!-- text {n} -->\n\n{text}\n" for n, text in enumerate([*texts, *(text for _, text in docs), ""])]
        # nbdev links names that are in a link already
        self.doc = json.loads(_read(re.sub(r"\[\[(`[^`]+`)\]\([^()]*\)\]\(", r"[\1](", "\n".join(texts))))
        self.labels: dict[str, list] = {}  # label -> its number, or a section's title, as Pandoc has it
        self.faults: list[tuple[int, str, str]] = []  # (the number of a text, what to look for in it, what is wrong)
        for n, label, title in self._labelled():
            if label in self.labels:
                self.faults.append((n, label, f"the label {label} is given twice"))
            kind = label.partition("-")[0]
            self.labels[label] = title or [_str(str(1 + sum(o.startswith(f"{kind}-") for o in self.labels)))]

    # ------------------------------------------------------------------ what is there

    def _labelled(self) -> Iterator[tuple[int, str, list]]:
        """Each label in reading order, with the title of a section, without its links: it will be in one."""
        for n, node in _nodes(self.doc["blocks"]):
            match node:
                case {"t": "Header", "c": [_, [label, *_], title]} if label.startswith("sec-"):
                    yield n, label, [o for t in title for o in (t["c"][1] if t["t"] == "Link" else [t])]
                case {"t": "Figure" | "Table" | "Div", "c": [[label, *_], *_]} if label.startswith(("fig-", "tbl-")):
                    yield n, label, []
                case {"t": "Para" | "Plain", "c": inlines}:
                    yield from ((n, label, []) for *_, label in _equations(inlines))

    @functools.cached_property
    def anchors(self) -> set[str]:
        """Where links to this page may lead."""
        found = {"", *self.labels, *(name for cell in self.nb["cells"] for name in _exports(cell))}
        for _, node in _nodes(self.doc["blocks"]):
            match node:
                case {"t": "Header", "c": [_, [label, *_], _]} | {"c": [[str(label), list(), list()], *_]}:
                    found.add(label)
                case {"t": "RawInline" | "RawBlock", "c": [_, text]}:
                    found |= set(re.findall(r'\bid="([^"]+)"', text))
        return found

    def problems(self, bib: Path, pages: Iterable[_Page] = ()) -> Iterator[str]:
        """What is wrong, and where; links are looked at if there are `pages` for them to lead to."""
        found = list(self.faults)
        for n, node in _nodes(self.doc["blocks"]):
            match node:
                case {"t": "Cite", "c": [cites, _]}:
                    keys = [cite["citationId"] for cite in cites]
                    found += [(n, f"@{key}", text) for key, text in self._unknown(keys, bib, pages)]
                case {"t": "Link", "c": [_, _, [url, _]]} if pages and not any(urlsplit(url)[:2]):
                    found += [(n, url, text) for text in self._astray(url, bib.parent, pages)]
                case {"t": "Str", "c": text} if (m := _LABEL.search(text)) and m[1] not in self.labels:
                    found.append((n, m[0], f"{m[0]} is read as no label; give it and its equation lines of their own"))
        yield from dict.fromkeys(f"{self._place(n, sought)}: {text}" for n, sought, text in found)

    def _unknown(self, keys: list[str], bib: Path, pages: Iterable[_Page]) -> Iterator[tuple[str, str]]:
        """What is wrong with the keys of one citation or reference."""
        labels = [key for key in keys if _is_label(key)]
        if labels and labels != keys:
            yield keys[0], f"@{keys[0]} mixes citations and cross references; write two brackets"
        elif labels:
            for key in (key for key in keys if key not in self.labels):
                there = next(
                    (f" but of another; write [text]({o.path.name}#{key})" for o in pages if key in o.labels), ""
                )
                yield key, f"@{key} is no label of this page{there or _near(f'@{key}', self.labels)}"
        else:
            for key in (key for key in keys if key not in _works(bib)):
                hint = _near(f"@{key}", _works(bib)) or "; code belongs in backticks"
                yield key, f"@{key} is not in {bib.name}{hint}"

    def _astray(self, url: str, folder: Path, pages: Iterable[_Page]) -> Iterator[str]:
        """What is wrong with a link inside the site."""
        place, anchor = urlsplit(url).path.removeprefix("/"), unquote(urlsplit(url).fragment)
        names = {name: page for page in pages for name in (page.path.name, address(page.path.stem))}
        page = names.get(place) if place else self
        if page is None and not (folder / place).is_file():
            yield f"the link {url} leads nowhere{_near(place, names)}"
        elif page and anchor not in page.anchors:
            yield f"the link {url} leads to no anchor of that page{_near(f'#{anchor}', page.anchors)}"

    def _place(self, n: int, sought: str) -> str:
        """The file and, if it is known, the line of what was found in text `n`."""
        cell = self.cells[n] if n < len(self.cells) else {}
        if line := cell.get("metadata", {}).get("qmd", {}).get("line"):
            rows = _join(cell["source"]).splitlines()
            return f"{self.path}:{line + next((i for i, row in enumerate(rows) if sought in row), 0)}"
        return str(self.path)

    # ------------------------------------------------------------------ what it becomes

    def written(self, bib: Path, to: str, link: Callable[[str], str]) -> dict:
        """The notebook with every text as plain Markdown."""
        blocks, args = self._edit(self.doc["blocks"], link), ["--wrap=none"]
        if any(node["t"] == "Cite" for _, node in _nodes(blocks)):
            blocks.append({"t": "Header", "c": [2, ["", [], []], [_str("References")]]})
            args += ["--citeproc", f"--bibliography={bib}", "--metadata=link-citations"]
        text = pypandoc.convert_text(json.dumps({**self.doc, "blocks": blocks}), to, "json", args)
        text = re.sub(r"^([ >]*`{3,}) (?=\w)", r"\1", text, flags=re.M)  # ```python, which all take for a language
        *parts, rest = (part.strip("\n") for part in _MARK.split(text.replace("\r\n", "\n"))[2::2])
        if len(parts) != len(self.slots):
            raise RefError(f"{self.path}: a fence or a comment is not closed")
        for (_, (holder, key)), part in zip(self.slots, parts):
            holder[key] = part
        if rest:  # the works, and notes
            self.nb["cells"].append({"cell_type": "markdown", "id": "references", "metadata": {}, "source": rest})
        return self.nb

    def _edit(self, node: object, link: Callable[[str], str]) -> object:
        """A copy of a part of the document in which nothing is left to resolve, from the inside out."""
        if isinstance(node, dict):
            return {key: self._edit(value, link) for key, value in node.items()}
        if not isinstance(node, list):
            return node
        items = (self._edit(item, link) for item in node)
        return [new for item in items for new in (self._plain(item, link) if isinstance(item, dict) else [item])]

    def _plain(self, node: dict, link: Callable[[str], str]) -> list[dict]:
        """What stands in the place of one node."""
        match node:
            case {"t": "Cite", "c": [cites, _]} if _is_label(cites[0]["citationId"]):
                return [o for n, cite in enumerate(cites) for o in [_str(", ")] * (n > 0) + self._refer(cite)]
            case {"t": "Str", "c": text} if re.match(r"@\w", text):  # it was \@: no citation for the next reader either
                return [_html("&#64;", "RawInline"), _str(text[1:])]
            case {"t": "Link", "c": [attr, text, [url, title]]}:
                return [{"t": "Link", "c": [attr, text, [link(url), title]]}]
            case {"t": "Figure", "c": [[label, *_], [_, caption], [{"c": [{"t": "Image", "c": [attr, _, [src, _]]}]}]]}:
                given = {"id": label} | {key.removeprefix("fig-"): html.escape(value) for key, value in attr[2]}
                name, alt, width = (f'{o}="{given[o]}" ' if given.get(o) else "" for o in ("id", "alt", "width"))
                head = f'<figure {name}class="figure">\n<img src="{src}" {alt}{width}class="img-fluid">\n<figcaption>'
                return [_html(head), *self._numbered(label, caption), _html("</figcaption>\n</figure>")]
            case {"t": "Table", "c": [[label, *attr], [_, caption], *rest]}:
                for code in (o for _, o in _nodes(rest) if o["t"] == "Code" and "|" in o["c"][1]):
                    # to write a bar in code with a backslash is right for some readers of Markdown, and wrong for others
                    shown = html.escape(code["c"][1].replace("\\|", "|"), quote=False).replace("|", "&#124;")
                    code.update(_html(f"<code>{shown}</code>", "RawInline"))
                table = {"t": "Table", "c": [["", *attr], [None, []], *rest]}
                return [table, *self._below(label, caption)] if caption else [table]
            case {"t": "Div", "c": [[label, ["table-caption"], _], caption]}:
                return self._below(label, caption)
            case {"t": "Para" | "Plain" as kind, "c": inlines}:
                blocks, done = [], 0
                for start, stop, tex, label in _equations(inlines):
                    tex += rf" \tag{{{self.labels[label][0]['c']}}}"
                    maths = {"t": "Para", "c": [{"t": "Math", "c": [{"t": "DisplayMath"}, f"\n{tex}\n"]}]}
                    equation = {"t": "Div", "c": [[label, ["equation"], []], [maths]]}
                    blocks, done = [*blocks, {"t": kind, "c": inlines[done:start]}, equation], stop
                return [o for o in [*blocks, {"t": kind, "c": inlines[done:]}] if o["c"] or not blocks]
        return [node]

    def _refer(self, cite: dict) -> list[dict]:
        """A link to what a label names."""
        label, shown = cite["citationId"], self.labels[cite["citationId"]]
        kind, bare = label.partition("-")[0], cite["citationMode"]["t"] == "SuppressAuthor"
        if kind == "sec" and not bare:
            shown = [_str("“"), *shown, _str("”")]
        elif not bare:
            shown = [*(cite["citationPrefix"] or [_str(NAMES[kind])]), _str("\u00a0"), *shown]
        return [{"t": "Link", "c": [["", [], []], shown, [f"#{label}", ""]]}, *cite["citationSuffix"]]

    def _below(self, label: str, caption: list) -> list[dict]:
        """The caption of a table. The label is no div's, for Quarto would count the tables once more."""
        anchor = [{"t": "Plain", "c": [_html(f'<a id="{label}"></a>', "RawInline")]}] if label else []
        return [{"t": "Div", "c": [["", ["table-caption"], []], [*anchor, *self._numbered(label, caption)]]}]

    def _numbered(self, label: str, caption: list) -> list[dict]:
        """A caption as paragraphs, with its name and number before it."""
        name = [_str(f"{NAMES[label.partition('-')[0]]}\u00a0"), *self.labels[label], _str(": ")] if label else []
        return [{"t": "Para", "c": name * (n == 0) + block["c"]} for n, block in enumerate(caption)]

    def _caption(self, cell: dict, pictures: Path | None) -> None:
        """Write a captioned output as Markdown: `![caption](file){#fig-x}`, or a div that stands below a table."""
        options, code = _options(_join(cell["source"])) if cell["cell_type"] == "code" else ({}, "")
        label, figure, table = (options.pop(key, "") for key in ("label", "fig-cap", "tbl-cap"))
        if not figure and not table:
            return
        what, outs = ("picture", _pictures(cell)) if figure else ("table", [o for o in cell["outputs"] if "data" in o])
        if pictures and len(outs) != 1:
            raise RefError(
                f"{self.path}: the cell {label or code[:40]!r} has a caption, so it shows one {what}, not {len(outs)}"
            )
        name = label and f"#{label}"
        text = f"::: {{{name} .table-caption}}\n{table}\n:::"
        if figure:
            src, width = _save(outs[0], pictures, label or cell["id"]) if pictures else (label, "")
            text = f'![{figure}]({src}){{{name} fig-alt="{html.escape(str(options.pop("fig-alt", "")))}"{width}}}'
            cell["outputs"] = [out for out in cell["outputs"] if out not in outs]
        cell["outputs"].append({"output_type": "display_data", "metadata": {}, "data": {"text/markdown": text}})
        if pictures:
            cell["source"] = "".join(f"#| {o}\n" for o in yaml.safe_dump(options).splitlines() if options) + code


# ------------------------------------------------------------------ Pandoc's documents


@functools.cache
def _read(text: str) -> str:
    return pypandoc.convert_text(text, "json", READ)


@functools.cache
def _works(bib: Path) -> frozenset[str]:
    """The keys of a BibTeX file."""
    return frozenset(work["id"] for work in json.loads(pypandoc.convert_file(str(bib), "csljson", "bibtex")))


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


def _equations(inlines: list) -> Iterator[tuple[int, int, str, str]]:
    """The equations of a paragraph that have a label, and with it lines of their own: (start, stop, TeX, label)."""
    for n, node in enumerate(inlines):
        match [node, *(o for o in inlines[n + 1 : n + 3] if o["t"] != "Space")]:
            case [{"t": "Math", "c": [{"t": "DisplayMath"}, tex]}, {"t": "Str", "c": text}, *_]:
                m, stop = _LABEL.fullmatch(text), n + 2 + (inlines[n + 1]["t"] == "Space")
                before, after = inlines[max(n - 1, 0) : n], inlines[stop : stop + 1]
                if m and m[1].startswith("eq-") and all(o["t"] == "SoftBreak" for o in before + after):
                    yield n, stop + len(after), tex.strip(), m[1]


def _is_label(key: str) -> bool:
    return key.partition("-")[0] in NAMES and "-" in key


def _near(name: str, known: Iterable[str]) -> str:
    """A hint at what was meant; a mark in front of `name` is in front of what is known, too."""
    mark = name[:1] if name[:1] in "@#" else ""
    return next((f"; do you mean {mark}{o}?" for o in difflib.get_close_matches(name[len(mark) :], known, n=1)), "")


def _str(text: str) -> dict:
    return {"t": "Str", "c": text}


def _html(text: str, kind: str = "RawBlock") -> dict:
    return {"t": kind, "c": ["html", text]}


# ------------------------------------------------------------------ notebooks


def _slots(cell: dict) -> Iterator[tuple[dict, str]]:
    """Where the Markdown of a cell and of its outputs is."""
    if cell["cell_type"] == "markdown":
        yield cell, "source"
    datas = (out.get("data", {}) for out in cell.get("outputs", []))
    yield from ((data, "text/markdown") for data in datas if "text/markdown" in data)


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


def _options(source: str) -> tuple[dict, str]:
    """Quarto's `#| key: value` options at the top of a cell, and the code below them."""
    head = re.match(r"(?:#\|[^\n]*(?:\n|\Z))*", source)[0]
    lines = [line[2:].removeprefix(" ") for line in head.splitlines() if not re.fullmatch(r"#\|[\s\w.]*", line)]
    return yaml.safe_load("\n".join(lines)) or {}, source[len(head) :]  # nbdev's directives have no colon


def _pictures(cell: dict) -> list[dict]:
    return [out for out in cell["outputs"] if PICTURES.keys() & out.get("data", {}).keys()]


def _save(out: dict, folder: Path, stem: str) -> tuple[str, str]:
    """Write a picture; its path from the page, and the width to show it with."""
    kind = next(kind for kind in PICTURES if kind in out["data"])
    data, file = _join(out["data"][kind]), f"{stem}.{PICTURES[kind]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data.encode() if kind == "image/svg+xml" else base64.b64decode(data))
    width = out.get("metadata", {}).get(kind, {}).get("width")
    return f"{folder.name}/{file}", f" width={width}" if width else ""


def _join(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
