"""The site: what `prepare` hands to the renderer, API entries, live preview, and that every check can fail."""

import configparser
import dataclasses
import enum
import json
import shutil
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import equinox as eqx
import pytest
import yaml

from scripts import check_site, showdoc, site
from scripts.nbs import BuildError

ROOT = Path(__file__).parents[2]
CONFIG = {
    "project": {"type": "website", "output-dir": "_docs"},
    "website": {
        "title": "t",
        "site-url": "https://x.org/t",
        "repo-url": "https://x.org/r",
        "sidebar": {"style": "floating"},
    },
    "bibliography": "references.bib",
}


def cell(kind: str, source: str, **more: object) -> dict:
    return {"cell_type": kind, "id": f"c{abs(hash(source))}", "metadata": {}, "source": source, **more}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A small folder as nbdev leaves it."""
    folder = tmp_path / "_proc"
    folder.mkdir()
    entry = "### One\n\n::: {.api}\n```python\nOne()\n```\n"
    entry += '\n| Method | Meaning |\n|---|---|\n| <a id="one.run"></a>`run()` | Runs. |\n\n:::\n'
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": entry}}
    pages = {
        "index": [
            cell(
                "markdown",
                "[core](00_one.qmd#sec-a) [`One`](https://x.org/t/one.html#one) [[`A`](https://x.org/t/one.html#one)](404.md) "
                "[`t`](https://x.org/t/tests/one.html#t) [`_p`](https://x.org/t/one.html#_p)",
            )
        ],
        "00_one": [
            cell("raw", "---\ndescription: The first\noutput-file: one.html\ntitle: One page\n---\n"),
            cell("markdown", "## A {#sec-a}\n\nSee @sec-a and [@a2000one], or [start](index.qmd)."),
            cell("code", "#| output: asis\n#| echo: false\nshow_doc(One)", outputs=[output], execution_count=1),
        ],
    }
    for name, cells in pages.items():
        nb = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (folder / f"{name}.ipynb").write_text(json.dumps(nb))
    (folder / "_quarto.yml").write_text(yaml.safe_dump(CONFIG))
    (folder / "404.md").write_text("---\ntitle: Lost\n---\n\n[start](/index.html)\n")
    (folder / "references.bib").write_text("@book{a2000one, author={A, B.}, title={One}, year={2000}}")
    return folder


# ------------------------------------------------------------------ building


# Reads notebooks as Quarto does: a text that is no list of lines loses its line ends.
QUARTO = """#!{python}
import html, json, os, pathlib, sys
if sys.argv[1:] == ["preview", "--no-browser"]:
    sys.exit(pathlib.Path("previewed").touch())
pathlib.Path("_docs").mkdir(exist_ok=True)
for page in [path.name for path in pathlib.Path().glob("*.ipynb")]:
    lines = []
    for cell in json.loads(pathlib.Path(page).read_text())["cells"]:
        lines += cell["source"].splitlines() if isinstance(cell["source"], str) else cell["source"]
        lines += [line for out in cell.get("outputs", []) for line in out["data"].get("text/markdown", [])]
    text = html.escape("".join(lines))
    name = page.replace("ipynb", "html")
    pathlib.Path("_docs", name).write_text(f"<body><pre>{{text}}</pre>"
        "<section id='one'><h3>One</h3><div class='api'><p><a class='api-source'>source</a></p><p>Runs.</p></div></section>"
        "</body>")
pathlib.Path("_docs/search.json").write_text('[{{"href": "one.html", "title": "One page"}}]')
print("[1/1] " + os.environ.get("QUARTO_SAYS", "page.ipynb"))
"""


@pytest.fixture
def quarto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "quarto"
    program.parent.mkdir()
    program.write_text(QUARTO.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


@pytest.fixture
def no_quarto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.fixture(autouse=True)
def katex(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test fetches a package."""
    folder = tmp_path / "katex"
    (folder / "dist" / "contrib").mkdir(parents=True)
    for name in ("katex.min.css", "katex.min.js", "contrib/auto-render.min.js"):
        (folder / "dist" / name).write_text("")
    monkeypatch.setattr(site, "_npm", lambda package, kept: folder)


def test_a_site_is_built_whole_and_without_findings(
    proc: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    site.build(proc, tmp_path / "docs")
    assert "smalldocs" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "docs").glob("*.html")} == {"index.html", "one.html", "404.html"}
    assert check_site.static(tmp_path / "docs") == []
    one = (tmp_path / "docs" / "one.html").read_text()
    assert "https://x.org/r/blob/main/nbs/00_one.qmd" in one  # the page's source
    assert "A, B. 2000." in one
    index = (tmp_path / "docs" / "index.html").read_text()
    assert 'href="one.html#sec-a"' in index and 'href="one.html#one"' in index
    assert '<a href="404.html"><code>A</code></a>' in index  # not nbdev's link inside of ours
    assert "<code>t</code> <code>_p</code>" in index  # nor one to what has no entry
    assert (proc / "00_one.ipynb").exists()  # nbdev's own folder stays as it was


@pytest.mark.usefixtures("quarto")
def test_the_new_site_replaces_the_old_one(proc: Path, tmp_path: Path):
    stale = tmp_path / "docs" / "old_files" / "old.png"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    (tmp_path / "docs" / "index.html").write_text("old")
    site.build(proc, tmp_path / "docs")
    assert not stale.parent.exists()
    assert (tmp_path / "docs" / "index.html").read_text() != "old"


@pytest.mark.usefixtures("quarto")
def test_quarto_gets_lines_with_nothing_left_to_resolve(proc: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    site.build(proc, tmp_path / "docs")
    assert "with Quarto" in capsys.readouterr().out
    one = (tmp_path / "docs" / "one.html").read_text()
    assert (
        "\ntitle: One page\n---\n## A {#sec-a}\n\nSee [“A”](#sec-a) and ([A 2000](#ref-a2000one)), or [start](index.html)."
        in one
    )
    assert "### One\n\n::: api\n```python\nOne()\n```\n" in one


@pytest.mark.usefixtures("quarto")
def test_quartos_search_finds_api_entries(proc: Path, tmp_path: Path):
    site.build(proc, tmp_path / "docs")
    [page, *entries] = json.loads((tmp_path / "docs" / "search.json").read_text())
    assert page == {"href": "one.html", "title": "One page"}
    assert {
        "objectID": "one.html#one",
        "href": "one.html#one",
        "title": "One page",
        "section": "One",
        "text": "Runs.",
    } in entries


@pytest.mark.usefixtures("quarto")
@pytest.mark.parametrize(
    "said", ["\nWARN: Unable to resolve link target", "\n\x1b[33m[WARNING] Div unclosed\x1b[39m", "\nERROR (x)"]
)
def test_what_quarto_warns_of_stops_the_build(proc: Path, tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QUARTO_SAYS", f"page.ipynb{said}\n  and more")
    with pytest.raises(BuildError, match=r"Quarto warns:\n.*(Unable|unclosed|ERROR).*\n  and more"):
        site.build(proc, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


@pytest.mark.usefixtures("quarto")
def test_the_sidebar_follows_the_files_and_their_numbers(proc: Path, tmp_path: Path):
    names = ["02_c", "01b_b", "91_x", "10_e"]
    for name in names:
        shutil.copy(proc / "00_one.ipynb", proc / f"{name}.ipynb")

    def contents() -> list:
        site.build(proc, tmp_path / "docs")
        return yaml.safe_load((tmp_path / "_site" / "_quarto.yml").read_text())["website"]["sidebar"]["contents"]

    build = {"section": "Build", "contents": ["one.ipynb", "b.ipynb", "c.ipynb"]}
    extend = {"section": "For developers", "contents": ["x.ipynb"]}
    assert contents() == ["index.ipynb", build, {"section": "Examples", "contents": ["e.ipynb"]}, extend]
    (proc / "10_e.ipynb").rename(proc / "03_f.ipynb")  # what is renamed or gone leaves nothing behind
    (proc / "91_x.ipynb").unlink()
    build["contents"].append("f.ipynb")
    assert contents() == ["index.ipynb", build]
    assert {path.stem for path in (tmp_path / "docs").glob("*.html")} == {"index", "one", "b", "c", "f"}


def test_a_method_with_an_entry_of_its_own_is_linked(proc: Path):
    nb = json.loads((proc / "00_one.ipynb").read_text())
    more = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": ["### One.run\n", "\nRuns."]}}
    nb["cells"].append(cell("code", "show_doc(One.run)", outputs=[more], execution_count=2))
    (proc / "00_one.ipynb").write_text(json.dumps(nb))
    text = (site.stage(proc) / "one.ipynb").read_text()
    assert "[`run()`](#one.run)" in text and "<a id=" not in text


@pytest.mark.parametrize("renderer", ["quarto", "smalldocs"])
def test_the_preview_shows_what_was_saved(proc: Path, tmp_path: Path, renderer: str, request: pytest.FixtureRequest):
    """The renderer serves the folder; here it is looked at that the folder follows, and with smalldocs the page."""
    request.getfixturevalue("quarto" if renderer == "quarto" else "no_quarto")
    source = tmp_path / "nbs" / "index.qmd"
    source.parent.mkdir()
    source.write_text("Before")
    asked: list[list[Path]] = []

    def renew(changed: list[Path]) -> None:  # the build tool's part
        asked.append(changed)
        if source.read_text() == "a slip":
            raise BuildError("told")
        nb = json.loads((proc / "index.ipynb").read_text())
        nb["cells"][0]["source"] = source.read_text()
        (proc / "index.ipynb").write_text(json.dumps(nb))

    def get(port: int) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html") as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def wait(holds: object) -> None:
        end = time.time() + 20
        while not holds():
            assert time.time() < end
            time.sleep(0.1)

    staged = tmp_path / "_site" / "index.ipynb"
    with socket.create_server(("127.0.0.1", 0)) as other:  # somebody else's
        port = other.getsockname()[1]
        monkeypatch = request.getfixturevalue("monkeypatch")
        monkeypatch.setattr(site, "PORT", port)
        threading.Thread(target=site.preview, args=(proc, source.parent, renew), daemon=True).start()
        wait(lambda: get(port + 1) or renderer == "quarto" and (tmp_path / "_site" / "previewed").exists())
    kept = (tmp_path / "_site" / "one.ipynb").stat().st_mtime_ns
    source.write_text("a slip")  # the old page stays
    wait(lambda: len(asked) == 1)
    source.write_text("After the slip")
    wait(lambda: "After the slip" in (staged.read_text() if renderer == "quarto" else get(port + 1)))
    assert asked == [[source], [source]]
    assert (tmp_path / "_site" / "one.ipynb").stat().st_mtime_ns == kept  # no need to render it again


def test_the_configuration_agrees_with_the_settings():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini")
    settings = settings["DEFAULT"]
    website = yaml.safe_load((ROOT / "nbs" / "_quarto.yml").read_text())["website"]
    assert website["title"] == settings["title"]
    assert website["description"] == settings["description"]
    assert website["site-url"] == settings["doc_host"] + settings["doc_baseurl"]
    assert website["repo-url"] == settings["git_url"]


# ------------------------------------------------------------------ API entries


class Layer:
    """A node [@a2000one, eq. 8].

    With more to say.
    """

    size: int  # its width, as in "K D"

    def __init__(
        self,
        size: int,  # its width, as in "K D"
        scale: float | str = "one",
        *,
        call: object = print,  # what to call
    ):
        self.size = size

    def run(self, x, *more, **options) -> "list[Layer]":
        "Run on `x | y`."

    again = run

    @property
    def width(self) -> int:
        "The width."

    @property
    def obvious(self) -> int:
        return 1

    def _hidden(self):
        pass


def double(x: int = 1) -> int:
    return 2 * x


def entry(sym: object) -> str:
    return showdoc.Entry(sym)._repr_markdown_()


def test_an_entry_has_signature_docstring_arguments_and_methods():
    assert entry(Layer) == (
        "### Layer\n\n::: {.api}\n\n```python\nLayer(size, scale='one', *, call=print)\n```\n\n"
        "A node [@a2000one, eq. 8].\n\nWith more to say.\n\n"
        "| Argument | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"
        '| <code>size</code> | `int` |  | its width, as in `"K D"` |\n'
        "| <code>scale</code> | <code>float &#124; str</code> | `'one'` |  |\n"
        "| <code>call</code> | `object` | `print` | what to call |\n\n"
        "| Method | Meaning |\n| --- | --- |\n"
        '| <a id="layer.run"></a>`run(x, *more, **options)` | Run on `x \\| y`. |\n'
        '| <a id="layer.again"></a>`again(x, *more, **options)` | another name for `run` |\n'
        '| <a id="layer.width"></a>`width` | The width. |\n\n:::\n'
    )


class Colour(enum.IntEnum):
    """A choice."""

    RED = 0


@dataclasses.dataclass
class Choice:
    """One of them."""

    colour: int = Colour.RED  # which


def test_an_entry_has_defaults_as_they_are_written_and_no_call_of_a_choice():
    assert entry(Colour).startswith("### Colour\n\n::: {.api}\n\n```python\nColour\n```\n\nA choice.\n")
    assert "Choice(colour=Colour.RED)" in entry(Choice) and "| `Colour.RED` | which |" in entry(Choice)


def test_what_a_decorator_leaves_without_a_name_has_no_entry():
    squared = eqx.filter_custom_jvp(lambda x: x * x)
    assert entry(squared) == "" and entry(squared.def_jvp(lambda primals, tangents: (primals, tangents))) == ""


def test_an_entry_can_show_the_code():
    shown = "### Layer.width\n\n::: {.api}\n\nThe width.\n\n```python\n@property\ndef width(self) -> int:\n```\n\n:::\n"
    assert showdoc.Source(Layer.width.fget)._repr_markdown_() == shown
    shown = showdoc.Source(double, title_level=4)._repr_markdown_()
    assert (
        shown
        == "#### double\n\n::: {.api}\n\n```python\ndef double(x: int = 1) -> int:\n    return 2 * x\n```\n\n:::\n"
    )


def test_an_entry_of_a_method_and_of_a_function():
    assert "```python\nLayer.run(x, *more, **options)\n```" in entry(Layer.run)
    assert "| *returns* | `list[Layer]` |" in entry(Layer.run)
    assert entry(double) == (
        "### double\n\n::: {.api}\n\n```python\ndouble(x=1)\n```\n\n"
        "| Argument | Type | Default |\n| --- | --- | --- |\n"
        "| <code>x</code> | `int` | `1` |\n| *returns* | `int` |  |\n\n:::\n"
    )


# ------------------------------------------------------------------ checking

PAGE = """<html><body><main><p>Fine <a href="b.html#there">b</a> <a href="#top">top</a> <a id="top"></a></p>{}</main>
</body></html>"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.html").write_text(PAGE.format(""))
    (folder / "b.html").write_text('<html><body><main><h2 id="there">B</h2><p>b</p></main></body></html>')
    (folder / "x.png").write_bytes(b"")
    source = tmp_path / "hamux" / "core.py"
    source.parent.mkdir()
    source.write_text("\n\nclass Layer:\n    def run(self): ...\n")
    return folder


NAV = """<div id="quarto-sidebar"><a class="sidebar-link active" href="./a.html">a</a>
<a class="sidebar-link" href="./b.html">b</a></div>"""
FINE = [
    '<img src="x.png" alt="An x"> <a href="/b.html">b</a> <a href="https://out.org/none">out</a>',
    "<div class='cell-output'><pre><code>1253 @binary_ufunc ](#</code></pre></div>",
    "<pre><code>@patch\n# not an option\n::: {.x}</code></pre> <code>@patch {#eq-a} $$</code> <code>#| export</code> me@x.org",
    '<a class="api-source" title="The source of Layer" href="https://x.org/r/blob/main/hamux/core.py#L3">source</a>',
    '<a class="api-source" title="The source of Layer.run" href="https://x.org/r/blob/main/hamux/core.py#L4">source</a>',
    NAV,
]
BROKEN = [
    ('<a href="c.html">c</a>', "the link c.html leads nowhere"),
    ('<a href="b.html#none">c</a>', "the link b.html#none leads to a page without that anchor"),
    ('<a href="#none">c</a>', "the link #none leads to a page without that anchor"),
    ('<link href="none.css">', "the link none.css leads nowhere"),
    ('<img src="y.png" alt="A y">', "the picture y.png is missing"),
    ('<img src="x.png">', "the picture x.png has no alt text"),
    ('<img src="x.png" alt=" ">', "the picture x.png has no alt text"),
    ('<i id="i"></i><i id="i"></i>', "the id i is used 2 times"),
    ("<p>see [@krotov2016, eq. 8]</p>", "a raw key is shown"),
    ("<p>see @fig-x</p>", "a raw key is shown"),
    ("<p>E = x {#eq-x}</p>", "a raw label is shown"),
    ("<p>::: {.callout-note}</p>", "a raw div is shown"),
    ("<p>$$ E = x $$</p>", "raw maths is shown"),
    ("<p>[<code>f</code>](#sec-f)</p>", "a raw link is shown"),
    ("<pre><code>#| label: fig-x\nplot()</code></pre>", "a cell option is shown: '#| label: fig-x"),
    (
        '<div class="cell-output"><pre><code>&lt;Figure size 640x480&gt;</code></pre></div>',
        "an object nobody meant to show is shown",
    ),
    ('<span class="citation"><strong>nobody?</strong></span>', "an unknown citation is shown: nobody?"),
    ('<script src="https://x.org/x.js"></script>', "https://x.org/x.js comes from another host"),
    ('<link rel="stylesheet" href="//x.org/x.css">', "//x.org/x.css comes from another host"),
    ('<div class="api"><table><td><code>int \\| None</code></td></table></div>', "a type shows a backslash: int"),
    (NAV.replace("b.html", "a.html", 1).replace("a.html", "b.html", 1), "the navigation marks b.html as"),
    (NAV.replace(" active", ""), "the navigation marks no page as"),
    (FINE[-3].replace("#L3", "#L4"), "the source of Layer is not at"),
    (FINE[-3].replace("#L3", "#L99"), "the source of Layer is not at"),
    (FINE[-3].replace("core.py", "none.py"), "the source of Layer is not at"),
]


@pytest.mark.parametrize("body", ["", *FINE])
def test_a_good_page_passes(docs: Path, body: str):
    (docs / "a.html").write_text(PAGE.format(body))
    assert check_site.static(docs, docs.parent) == []


@pytest.mark.parametrize("body, finding", BROKEN)
def test_a_broken_page_is_found(docs: Path, body: str, finding: str):
    (docs / "a.html").write_text(PAGE.format(body))
    [found] = check_site.static(docs, docs.parent)
    assert found.startswith(f"a.html: {finding}")


def test_links_from_the_root_start_with_the_path_of_the_site(docs: Path):
    (docs / "sitemap.xml").write_text("<urlset><url><loc>https://x.org/t/a.html</loc></url></urlset>")
    (docs / "a.html").write_text(
        PAGE.format('<a href="/t/b.html">b</a> <a href="/t/">home</a> <a href="/b.html">b</a>')
    )
    (docs / "index.html").write_text("<main><h1>Home</h1><p> </p></main>")
    assert check_site.static(docs) == ["a.html: the link /b.html leads nowhere", "index.html: the page says nothing"]


def test_a_style_from_another_host_is_found(docs: Path):
    (docs / "x.css").write_text("@import url('https://fonts.org/a;b'); @font-face { src: url(fonts/x.woff2) }")
    assert check_site.static(docs, docs.parent) == ["x.css: https://fonts.org/a;b comes from another host"]


def test_no_pages_are_a_finding(tmp_path: Path):
    assert check_site.static(tmp_path) == [f"{tmp_path} has no pages"]


def test_what_cannot_be_checked_fails_under_ci(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr("sys.argv", ["check_site", str(docs)])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    assert check_site.main() == 0
    assert "left out: no browser found" in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    assert check_site.main() == 1


HEAD = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"><style>
body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }</style></head><body>"""
LIVE = """<button class="quarto-color-scheme-toggle" onclick="document.body.style.background = `{colour}`">o</button>
<div id="quarto-search"><input id="q" oninput="hit.hidden = this.value != `{name}`">
<a id="hit" hidden href="b.html#neuronlayer">hit</a></div>
<script>onkeydown = e => {{ if (e.key == "/") {{ e.preventDefault(); q.focus(); }} }}</script></body></html>"""
LIVELY = {
    "good": ('<b class="math"><i class="katex">x</i></b>', []),
    "raw": ('<b class="math">x^2</b>', ["an equation is not typeset: x^2"]),
    "wrong": ('<b class="math"><i class="katex katex-error">x^</i></b>', ["an equation is wrong: x^"]),
    "console": ("<script>console.error('ouch')</script>", ["the console says: ouch"]),
    "error": ("<script>none.none</script>", ["an error on the page: none is not defined"]),
    "missing": ('<script src="none.js"></script>', ["the console says: Failed to load resource"]),
    "outside": ('<img src="https://outside.org/x.png">', ["https://outside.org/x.png is asked for, on another host"]),
    "black": ("<style>body { background: black }</style>", ["a system that asks for a light page gets another"]),
}
NARROW = {
    "wide": (
        '<main><i style="display: block; width: 700px">x</i></main>',
        ["wider than the screen: i. x", "the page is wider than the screen"],
    ),
    "scrolls": ('<main><div style="overflow: auto"><i style="display: block; width: 700px">x</i></div></main>', []),
    "cut": (
        '<main><div style="overflow: hidden"><svg style="width: 700px"></svg></div></main>',
        ["the picture drawing is cut off"],
    ),
}


@pytest.mark.skipif(not any(map(shutil.which, check_site.BROWSERS)), reason="there is no browser on this machine")
def test_the_browser_finds_what_is_wrong_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.html").write_text(HEAD + LIVE.format(colour="red", name="NeuronLayer"))
    found, left_out = check_site.browse(docs, tmp_path / "shots")
    assert (found, left_out) == ([], [])
    shots = {f"index-{look}-{width}.png" for look in check_site.LOOKS for width in (390, 1280)}
    assert {path.name for path in (tmp_path / "shots").iterdir()} == shots

    (docs / "index.html").write_text(HEAD + LIVE.format(colour="", name="Layer"))
    style = "display: block; overflow: auto"
    formula = f'<main><b class="katex-display" style="{style}"><i style="display: block; width: {{}}">x</i></b>'
    for width in ("700px", "1100px"):
        (docs / f"formula{width}.html").write_text(f"{HEAD}{formula.format(width)}</main></body></html>")
    for name, (body, _) in (LIVELY | NARROW).items():
        (docs / f"{name}.html").write_text(f"{HEAD}{body}</body></html>")
    monkeypatch.setattr(check_site, "PATIENCE", 500)
    monkeypatch.setattr(check_site, "LOOKS", ("light",))
    monkeypatch.setattr(check_site, "WIDTHS", (600, 1000))
    found, _ = check_site.browse(docs)
    expected = {f"{name}.html (light): {text}" for name, (_, texts) in LIVELY.items() for text in texts}
    expected |= {f"{name}.html (light, 600 wide): {text}" for name, (_, texts) in NARROW.items() for text in texts}
    expected |= {"formula1100px.html (light, 1000 wide): an equation has to be scrolled: x"}
    expected |= {"the theme toggle changes nothing", "the search does not find NeuronLayer"}
    assert {finding.partition(": Failed")[0] for finding in found} == {
        text.partition(": Failed")[0] for text in expected
    }
