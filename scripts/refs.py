"""Resolve citations and cross references, so that no reader of a page ever sees a raw key.

Quarto knows `@key`, `[@key, eq. 8]`, `@fig-x`, `@tbl-x`, `@eq-x`, `@sec-x` and `$$ ... $$ {#eq-x}`; smalldocs and GitHub
do not. `resolve` turns just these into plain Markdown, HTML anchors and `\\tag{}`, which all of them render. Citations go
through Pandoc, whose citation processor is Quarto's. References stay on their page, as in a Quarto website: to point to
another page, write a link.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import difflib
import functools
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pypandoc
import yaml
from markdown_it import MarkdownIt

NAMES = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}  # best first

_KEY = r"\w(?:\w|[-:.#$%&+?<>~/](?=\w))*"  # Pandoc's: punctuation only inside
_TOKEN = re.compile(
    rf"""
      (?P<code> (?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`) | <!--.*?--> | </?[A-Za-z][^<>]*> | \\. )
    | (?P<equation> ^(?P<indent>[ \t>]*)\$\$(?P<tex>(?:(?!\$\$).)+)\$\$[ ]*\{{\#(?P<eq>eq-[\w-]+)\}}[ ]*$ )
    | (?P<math> \$\$.+?\$\$(?![ ]*\{{\#) | \$(?=\S)(?:\\.|[^\\$])+?(?<=\S)\$(?!\d) )
    | (?P<heading> ^(?P<level>\#+)[ ]+(?P<title>[^\n]*?)[ ]*\{{\#(?P<sec>sec-[\w-]+)[^\n}}]*\}}[ ]*$ )
    | (?P<figure> ^[ ]*!\[(?P<figcap>(?:[^][]|\[[^][]*\])*)\]\((?P<src>[^()\s]+)\)
                  \{{(?:\#(?P<fig>fig-[\w-]+))?(?P<attrs>[^{{}}]*)\}}[ ]*$ )
    | (?P<table> ^(?:Table)?:[ ]+(?P<tblcap>[^\n]*?)[ ]*\{{\#(?P<tbl>tbl-[\w-]+)[^\n}}]*\}}[ ]*$ )
    | (?P<target> \]\([^()]*(?:\([^()]*\)[^()]*)*\) )           # where a link goes
    | (?P<cite> \[[^][`]*(?<!\w)@{_KEY}[^][`]*\](?!\()          # [see @key, eq. 8; @other]
              | (?<!\w)-?@{_KEY}(?:[ ]\[[^][@`]+\](?!\())? )    # @key, @key [eq. 8]
    """,
    re.X | re.M | re.S,
)


class RefError(ValueError):
    """A citation or cross reference that nothing answers to."""


def resolve(
    nb: dict,  # a notebook as nbdev has processed it; it is not changed
    name: str,  # what errors call it
    bib: Path,  # the BibTeX file
    pictures: Path,  # the folder, beside the page, that takes captioned pictures
    quarto: bool = False,  # check everything, but leave to Quarto what it resolves itself
    elsewhere: dict[str, str] | None = None,  # label -> page, for a better error
) -> dict:
    """The notebook with its references resolved and a list of the cited works at its end."""
    with _named(name):
        plain = _plain_captions(nb, None if quarto else pictures)
        page = _Page(list(texts(plain)), bib, elsewhere or {}, quarto)
        if quarto:  # it has numbers for sections only if they show them, so name these by their titles
            return map_texts(nb, lambda text: _map(text, page.section))
        plain = map_texts(plain, page.write)
    if page.works:
        plain["cells"].append({"cell_type": "markdown", "id": "references", "metadata": {}, "source": page.works})
    return plain


def resolve_folder(folder: Path, bib: Path, quarto: bool = False) -> None:
    """Resolve every notebook of a prepared folder, in place."""
    pages = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.ipynb"))}
    homes = {}
    for path, nb in pages.items():
        with _named(path.stem):
            homes |= {label: path.stem for text in texts(_plain_captions(nb, None)) for label, _ in _labels(text)}
    problems = []
    for path, nb in pages.items():
        try:
            nb = resolve(nb, path.stem, bib, folder / f"{path.stem}_files", quarto, homes)
        except RefError as e:
            problems.append(str(e))
        path.write_text(json.dumps(nb, ensure_ascii=False, indent=1), encoding="utf-8")
    if problems:
        raise RefError("\n".join(problems))


@contextlib.contextmanager
def _named(page: str) -> Iterator[None]:
    """Let errors say which page they are about."""
    try:
        yield
    except RefError as e:
        raise RefError("\n".join(f"{page}: {line}" for line in str(e).splitlines())) from None


class _Page:
    """What the texts of one page define and cite."""

    def __init__(self, texts: list[str], bib: Path, elsewhere: dict[str, str], quarto: bool):
        self.labels: dict[str, str] = {}  # label -> its number, or a section's title
        for label, title in (pair for text in texts for pair in _labels(text)):
            if label in self.labels:
                raise RefError(f"the label {label} is given twice.")
            kind = label.split("-")[0]
            self.labels[label] = title or str(1 + sum(old.startswith(f"{kind}-") for old in self.labels))
        cites = dict.fromkeys(cite for text in texts for cite in _cites(text))  # in order, each once
        if problems := [p for cite in cites for p in self._problems(cite, bib, elsewhere)]:
            raise RefError("\n".join(problems))
        self.works, self.cites = "", {}
        cites = [cite for cite in cites if not _references(cite)]
        if cites and not quarto:
            self._format(cites, bib)

    def _problems(self, cite: str, bib: Path, elsewhere: dict[str, str]) -> Iterator[str]:
        """What is wrong with the keys of a citation or reference."""
        reference = bool(_references(cite))
        known = self.labels if reference else _works(bib)
        for key in (key for key in _keys(cite) if key not in known):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"do you mean @{close[0]}?" if close else "code belongs in backticks."
            if reference and key in elsewhere:
                yield f"@{key} is on another page; write a link: [text]({elsewhere[key]}.qmd#{key})."
            else:
                yield f"@{key} is {'no label of this page' if reference else f'not in {bib.name}'}; {hint}"

    def _format(self, cites: list[str], bib: Path) -> None:
        # One paragraph a citation goes in; one paragraph each comes out, and the list of works after them.
        args = ["--citeproc", f"--bibliography={bib}", "--metadata=link-citations", "--wrap=none"]
        out = pypandoc.convert_text("\n\n".join(cites), "gfm", "markdown", args)
        *shown, works = out.replace("\r\n", "\n").split("\n\n", len(cites))
        self.cites = dict(zip(cites, shown, strict=True))
        self.works = f"## References\n\n{works}"

    def write(self, text: str) -> str:
        """Markdown that needs no Quarto."""
        done = _map(text, self._plain)
        for left in (m[0] for prose in _prose(done) for m in re.finditer(r"\{#(fig|tbl|eq|sec)-[^}]*\}", prose)):
            raise RefError(f"{left} stands where no label is read; give what it names a line of its own.")
        return done

    def _plain(self, m: re.Match) -> str:
        if m["equation"]:
            at = m["indent"]  # of a list or a quotation
            tex = "\n".join(line.removeprefix(at.rstrip()).strip() for line in m["tex"].split("\n")).strip()
            tex = rf"{tex} \tag{{{self.labels[m['eq']]}}}".split("\n")
            lines = ["", f'<div id="{m["eq"]}" class="equation">', "", "$$", *tex, "$$", "", "</div>", ""]
            return "\n".join((at + line).rstrip(" ") for line in lines)
        if m["heading"]:
            return f'{m["level"]} <a id="{m["sec"]}"></a>{_map(m["title"], self._plain)}'
        if m["figure"]:
            return self._figure(m)
        if m["table"]:
            caption = f"Table&nbsp;{self.labels[m['tbl']]}: {_map(m['tblcap'], self._plain)}"
            return f'\n<div id="{m["tbl"]}" class="table-caption">\n\n{caption}\n\n</div>\n'
        if m["cite"]:
            return self._refer(m[0]) if _references(m[0]) else self.cites[m[0]]
        return m[0]

    def section(self, m: re.Match) -> str:
        """Resolve a reference to sections, and nothing else."""
        labels = _references(m[0]) if m["cite"] else []
        return self._refer(m[0]) if labels and all(label.startswith("sec-") for label in labels) else m[0]

    def _refer(self, cite: str) -> str:
        prefix, links = re.match(r"\[?([^-@]*)", cite)[1].strip(), []
        for label in _references(cite):
            value, kind = self.labels[label], label.split("-")[0]
            if f"-@{label}" in cite:  # without its name
                words = value
            else:
                words = f"“{value}”" if kind == "sec" else f"{prefix or NAMES[kind]}&nbsp;{value}"
            links.append(f"[{words}](#{label})")
        return ", ".join(links)

    def _figure(self, m: re.Match) -> str:
        caption = _map(m["figcap"], self._plain)
        if m["fig"]:
            caption = f"Figure&nbsp;{self.labels[m['fig']]}: {caption}"
        attrs = dict(re.findall(r'([\w-]+)="?([^"\s]+(?:[^"]*(?="))?)', m["attrs"]))
        alt = attrs.get("fig-alt") or html.escape(re.sub(r"[*_`$\\]", "", m["figcap"]))
        width = f' width="{attrs["width"]}"' if "width" in attrs else ""
        name = f' id="{m["fig"]}"' if m["fig"] else ""
        image = f'<img src="{m["src"]}" alt="{alt}"{width} class="img-fluid">'
        return f'\n<figure{name} class="figure">\n{image}\n<figcaption>\n\n{caption}\n\n</figcaption>\n</figure>\n'


# ------------------------------------------------------------------ Markdown


def _map(text: str, rewrite: Callable[[re.Match], str]) -> str:
    """`text` with the tokens of its prose rewritten; code stays as it is."""
    return "".join(_TOKEN.sub(rewrite, run) if prose else run for prose, run in _runs(text))


def _prose(text: str) -> Iterator[str]:
    return (run for prose, run in _runs(text) if prose)


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """The lines of a text in runs of prose and of code: (is it prose, the run)."""
    lines = text.splitlines(keepends=True)
    code = {n for n, line in enumerate(lines) if line.lstrip("> \t").startswith(":::")}  # a div's attributes
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        verbatim = token.type == "html_block" and re.match(r"\s*<(script|style|pre|textarea)\b", token.content)
        if token.map and (token.type in ("fence", "code_block") or verbatim):
            code |= set(range(*token.map))
    start = 0
    for n in range(1, len(lines) + 1):
        if n == len(lines) or (n in code) != (start in code):
            yield start not in code, "".join(lines[start:n])
            start = n


def _labels(text: str) -> Iterator[tuple[str, str]]:
    """The labels that a text gives, each with a section's title or nothing."""
    for m in (m for prose in _prose(text) for m in _TOKEN.finditer(prose)):
        if label := m["eq"] or m["fig"] or m["tbl"] or m["sec"]:
            yield label, re.sub(r"\[([^][]*)\]\([^()]*\)", r"\1", m["title"] or "")  # a link cannot hold a link


def _cites(text: str) -> Iterator[str]:
    """The citations and references of a text as they are written, those in captions and headings too."""
    for m in (m for prose in _prose(text) for m in _TOKEN.finditer(prose)):
        if m["cite"]:
            yield m[0]
        elif inner := m["figcap"] or m["tblcap"] or m["title"]:
            yield from _cites(inner)


def _keys(cite: str) -> list[str]:
    return re.findall(rf"(?<!\w)@({_KEY})", cite)


def _references(cite: str) -> list[str]:
    """The labels that a `cite` token refers to: all of its keys or none."""
    keys = _keys(cite)
    labels = [key for key in keys if key.split("-")[0] in NAMES and "-" in key]
    if labels and labels != keys:
        raise RefError(f"{cite} mixes citations and cross references; write two brackets.")
    return labels


@functools.lru_cache
def _works(bib: Path) -> frozenset[str]:
    """The keys of a BibTeX file."""
    return frozenset(work["id"] for work in json.loads(pypandoc.convert_file(str(bib), "csljson", "bibtex")))


# ------------------------------------------------------------------ notebooks


def texts(nb: dict) -> Iterator[str]:
    """The Markdown of a notebook, of its cells and of their outputs."""
    found: list[str] = []
    map_texts(nb, lambda text: found.append(text) or text)
    return iter(found)


def map_texts(nb: dict, write: Callable[[str], str]) -> dict:
    """A copy of a notebook with its Markdown rewritten."""
    nb = copy.deepcopy(nb)
    for cell in nb["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = write(_join(cell["source"]))
        for data in (out.get("data", {}) for out in cell.get("outputs", [])):
            if "text/markdown" in data:
                data["text/markdown"] = write(_join(data["text/markdown"]))
    return nb


def _plain_captions(nb: dict, pictures: Path | None) -> dict:
    """A copy of a notebook whose captioned outputs are Markdown too: `![caption](file){#fig-x}`, `: caption {#tbl-x}`."""
    nb = copy.deepcopy(nb)
    for n, cell in enumerate(nb["cells"]):
        if cell["cell_type"] != "code":
            continue
        options, code = _options(_join(cell["source"]))
        label, figure, table = (options.pop(key, None) for key in ("label", "fig-cap", "tbl-cap"))
        if figure is None and table is None:
            continue
        outs = [out for out in cell["outputs"] if "data" in out]
        outs = [out for out in outs if PICTURES.keys() & out["data"].keys()] if figure is not None else outs
        if len(outs) != 1:
            what = (
                "figure caption, so it shows one picture"
                if figure is not None
                else "table caption, so it shows one table"
            )
            raise RefError(f"the cell {label or code[:40]!r} has a {what}, not {len(outs)}.")
        if figure is not None:
            src, width = _save(outs[0], pictures, label or f"cell-{n}")
            alt = html.escape(str(options.pop("fig-alt", ""))).replace("{", "&#123;").replace("}", "&#125;")
            attrs = " ".join(filter(None, (label and f"#{label}", f'fig-alt="{alt}"', width)))
            outs[0]["data"] = {"text/markdown": f"![{figure}]({src}){{{attrs}}}"}
        else:
            text = f": {table} {{#{label}}}"
            cell["outputs"].append({"output_type": "display_data", "metadata": {}, "data": {"text/markdown": text}})
        kept = yaml.safe_dump(options, sort_keys=False).splitlines() if options else []
        cell["source"] = "".join(f"#| {line}\n" for line in kept) + code
    return nb


def _options(source: str) -> tuple[dict, str]:
    """Quarto's `#| key: value` options at the top of a cell, and the code below them."""
    head = re.match(r"(?:#\|[^\n]*(?:\n|\Z))*", source)[0]
    lines = [line[2:].removeprefix(" ") for line in head.splitlines() if not re.fullmatch(r"#\|[\s\w.]*", line)]
    return yaml.safe_load("\n".join(lines)) or {}, source[len(head) :]  # nbdev's directives have no colon


def _save(out: dict, folder: Path | None, stem: str) -> tuple[str, str]:
    """Write a picture; its path from the page, and the width to show it with."""
    kind = next(kind for kind in PICTURES if kind in out["data"])
    data, file = _join(out["data"][kind]), f"{stem}.{PICTURES[kind]}"
    if folder is None:
        return file, ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data.encode() if kind == "image/svg+xml" else base64.b64decode(data))
    width = out.get("metadata", {}).get(kind, {}).get("width")
    return f"{folder.name}/{file}", f"width={width}" if width else ""


def _join(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
