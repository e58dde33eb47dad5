"""Citations and cross references: what is one, what it becomes, and what is refused."""

import base64
import json
import re
from pathlib import Path

import pypandoc
import pytest

from scripts import nbs, refs

BIB = """
@article{hopfield1982, author={Hopfield, J. J.}, title={Neural Networks}, journal={PNAS}, volume={79}, year={1982}}
@inproceedings{krotov2016, author={Krotov, Dmitry and Hopfield, John J.}, title={Dense Memory}, booktitle={NIPS}, year={2016}}
@article{amit1985a, author={Amit, D. and Gutfreund, H. and Sompolinsky, H.}, title={Spin}, journal={PRA}, year={1985}}
@article{amit1985b, author={Amit, D. and Gutfreund, H. and Sompolinsky, H.}, title={Storing}, journal={PRL}, year={1985}}
@misc{four2020, author={One, A. and Two, B. and Three, C. and Four, D.}, title={Many}, year={2020}}
"""
KEYS = set(re.findall(r"\{(\w+),", BIB))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


@pytest.fixture
def bib(tmp_path: Path) -> Path:
    path = tmp_path / "works.bib"
    path.write_text(BIB)
    return path


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": text}


def code(source: str, *outputs: dict) -> dict:
    return {
        "cell_type": "code",
        "id": "c",
        "metadata": {},
        "execution_count": None,
        "source": source,
        "outputs": list(outputs),
    }


def shows(metadata: dict | None = None, **data: str) -> dict:
    data = {key.replace("_", "/"): value for key, value in data.items()}
    return {"output_type": "display_data", "metadata": metadata or {}, "data": data}


def notebook(*cells: dict | str) -> dict:
    return {"cells": [markdown(cell) if isinstance(cell, str) else cell for cell in cells]}


def resolved(bib: Path, *cells: dict | str, to: str = refs.SITE) -> list[dict]:
    return refs.resolve(notebook(*cells), "page", bib, bib.parent / "page_files", to)["cells"]


def text(bib: Path, *cells: dict | str) -> str:
    """The first cell, when all are resolved, without the links of citations."""
    return re.sub(r"\[([^][]*)\]\(#ref-\w+\)", r"\1", resolved(bib, *cells)[0]["source"])


# ------------------------------------------------------------------ citations


@pytest.mark.parametrize(
    "written, shown",
    [
        ("@krotov2016 show", "Krotov and Hopfield (2016) show"),
        ("is known [@krotov2016].", "is known (Krotov and Hopfield 2016)."),
        ("[@krotov2016, eq. 8; @hopfield1982]", "(Krotov and Hopfield 2016, eq. 8; Hopfield 1982)"),
        ("[see @hopfield1982, theorem 2]", "(see Hopfield 1982, theorem 2)"),
        ("Hopfield [-@hopfield1982]", "Hopfield (1982)"),
        ("@hopfield1982 [eq. 3] and", "Hopfield (1982, eq. 3) and"),
        ("@four2020's", "One et al. (2020)'s"),
        ("[@amit1985a; @amit1985b]", "(Amit et al. 1985a, 1985b)"),
        ("*emphasis [@hopfield1982].*", "*emphasis (Hopfield 1982).*"),
        ("as [@hopfield1982,\neq. 8] says", "as (Hopfield 1982, eq. 8) says"),
    ],
)
def test_a_citation_reads_as_quarto_would_write_it(bib: Path, written: str, shown: str):
    assert text(bib, written) == shown


def test_a_citation_leads_to_its_entry_in_the_list(bib: Path):
    cited, works = (cell["source"] for cell in resolved(bib, "[@krotov2016]"))
    assert "(#ref-krotov2016)" in cited
    assert works.startswith("## References") and "#ref-krotov2016" in works and "*NIPS*" in works
    assert "Hopfield, J. J. 1982" not in works  # only what the page cites


def test_a_page_without_citations_has_no_list(bib: Path):
    assert len(resolved(bib, "No works here.")) == 1


UNTOUCHED = [
    "mail first.last@krotov2016.org or <me@krotov2016.org>",
    "`@krotov2016` and `` a ` @krotov2016 ``",
    "a decorator, `@patch`, and A @ B",
    "$x_@krotov2016$ and $$y @krotov2016$$",
    "[link](https://x.org/@krotov2016) <https://x.org/@krotov2016>",
    "<!-- @krotov2016 -->",
    '<a href="@krotov2016">x</a>',
    "```python\n@krotov2016\ndef f(): ...\n```",
    "    indented @krotov2016",
    "- item\n\n      @krotov2016 in code\n\n  and text",
    "<pre>\n@krotov2016\n</pre>",
    '::: {.callout-note title="TL;DR"}\n- one\n- two\n:::',
    "",
]


@pytest.mark.parametrize("to", [refs.SITE, refs.GITHUB])
@pytest.mark.parametrize("written", UNTOUCHED)
def test_code_mail_links_and_maths_are_left_alone(bib: Path, written: str, to: str):
    shown = [cell["source"] for cell in resolved(bib, written, to=to)]
    assert shown == [written] or (":::" in written and to == refs.GITHUB)


def test_a_div_may_begin_in_one_cell_and_end_in_another(bib: Path):
    shown = [cell["source"] for cell in resolved(bib, "::: callout-tip\nopen", code("f()"), "close\n:::")]
    assert shown == ["::: callout-tip\nopen", "f()", "close\n:::"]


def test_a_note_is_kept(bib: Path):
    note, notes = resolved(bib, "a[^1]\n\n[^1]: a note @krotov2016")
    assert note["source"] == "a[^1]" and "[^1]: a note Krotov and Hopfield" in notes["source"]


# ------------------------------------------------------------------ checking without outputs

PAGE = '''# One

## A head {#sec-a}

See [a](#sec-a), [two](01_two.qmd), [of two](01_two.qmd#sec-b), [entry](#layer.run), [out](https://x.org/none#none),
[it](works.bib), [root](/01_two.qmd), [published](two.html#sec-b) and @eq-y.

$$ y = 1 $$ {#eq-y}

```{python}
#| export
class Layer:
    """A layer [@krotov2016]."""

    def run(self):
        """Run as in @hopfield1982."""
```

```{python}
#| label: fig-b
#| fig-cap: "As in @eq-y"
plot()
```

And @fig-b.
'''
TWO = "# Two\n\n## B {#sec-b}\n\nText.\n"


def problems(bib: Path, one: str, two: str = TWO) -> list[str]:
    books = {}
    for name, page in {"nbs/00_one.qmd": one, "nbs/01_two.qmd": two}.items():
        file = bib.parent / "page.qmd"
        file.write_text(page)
        books[Path(name)] = nbs.read(file)
    return refs.check(books, bib)


def test_good_pages_pass(bib: Path):
    assert problems(bib, PAGE) == []


@pytest.mark.parametrize(
    "written, line, complaint",
    [
        ("[@krotov2016;\n@nobody]", 2, "@nobody is not in works.bib; code belongs in backticks"),
        ("[@krotov2016; @fig-a]", 1, "@krotov2016 mixes citations and cross references; write two brackets"),
        ("$$x$$ {#eq-a}\n\n$$y$$ {#eq-a}", 1, "the label eq-a is given twice"),
        ("in the text $$x$$ {#eq-a} and on", 1, "{#eq-a} is read as no label"),
        ("$$x$$ {#eq-a} and on", 1, "{#eq-a} is read as no label"),
        ("before\n$$\nx\n$$ {#eq-a}\nafter", 4, "{#eq-a} is read as no label; give it and its equation a paragraph"),
    ],
)
def test_what_is_refused(bib: Path, written: str, line: int, complaint: str):
    [told] = problems(bib, written)
    assert told.startswith(f"nbs/00_one.qmd:{line}: {complaint}")


def test_all_problems_are_told_at_once(bib: Path):
    told = problems(bib, "@nobody and @noone\n\n```{python}\n#| export\ndef f():\n    'See @nemo.'\n```\n\n@eq-none")
    assert [line.split(" is ")[0] for line in told] == [
        "nbs/00_one.qmd:1: @nobody",
        "nbs/00_one.qmd:1: @noone",
        "nbs/00_one.qmd:6: @nemo",
        "nbs/00_one.qmd:9: @eq-none",
    ]


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("#sec-a)", "#sec-c)", "5: the link #sec-c leads to no anchor of that page"),
        ("01_two.qmd)", "01_tow.qmd)", "5: the link 01_tow.qmd leads nowhere"),
        (
            "qmd#sec-b",
            "qmd#sec-bb",
            "5: the link 01_two.qmd#sec-bb leads to no anchor of that page",
        ),
        ("#layer.run", "#layer.walk", "5: the link #layer.walk leads to no anchor of that page"),
        ("html#sec-b", "html#sec-a", "6: the link two.html#sec-a leads to no anchor of that page"),
        ("works.bib", "nothing.bib", "6: the link nothing.bib leads nowhere"),
        ("and @eq-y", "and @eq-z", "6: @eq-z is no label of this page"),
        (
            "and @eq-y",
            "and @sec-b",
            "6: @sec-b is no label of this page but of another; write [text](01_two.qmd#sec-b)",
        ),
        ("[@krotov2016]", "[@krotow2016]", "13: @krotow2016 is not in works.bib; code belongs in backticks"),
        ("in @hopfield1982", "in @patch", "16: @patch is not in works.bib; code belongs in backticks"),
        ("As in @eq-y", "As in @eq-a", "21: @eq-a is no label of this page"),
        ("And @fig-b", "And @fig-c", "25: @fig-c is no label of this page"),
    ],
)
def test_a_problem_is_told_by_file_and_line(bib: Path, old: str, new: str, problem: str):
    [told] = problems(bib, PAGE.replace(old, new, 1))
    assert told.startswith(f"nbs/00_one.qmd:{problem}")


# ------------------------------------------------------------------ cross references

LABELLED = """## Why it `falls` {#sec-why}

$$
E = -x^2
$$ {#eq-energy}

$$ y = 1 $$ {#eq-y}

![A *picture*](a.png){#fig-a fig-alt="Alt, 'quoted'"}
"""


@pytest.mark.parametrize(
    "written, shown",
    [
        ("@eq-y", "[Equation\u00a02](#eq-y)"),
        ("[@eq-y]", "[Equation\u00a02](#eq-y)"),
        ("([-@eq-y])", "([2](#eq-y))"),
        ("[@eq-energy; @eq-y]", "[Equation\u00a01](#eq-energy), [Equation\u00a02](#eq-y)"),
        ("[Eq. @eq-y]", "[Eq.\u00a02](#eq-y)"),
        ("see @fig-a.", "see [Figure\u00a01](#fig-a)."),
        ("@sec-why", "[“Why it `falls`”](#sec-why)"),
        ("[-@sec-why]", "[Why it `falls`](#sec-why)"),
    ],
)
def test_a_cross_reference_is_a_link_with_the_number(bib: Path, written: str, shown: str):
    assert resolved(bib, written, LABELLED)[0]["source"] == shown


def test_labels_become_anchors_and_numbers(bib: Path):
    shown = resolved(bib, LABELLED)[0]["source"]
    assert "## Why it `falls` {#sec-why}" in shown
    assert "::: {#eq-energy .equation}\n$$\nE = -x^2 \\tag{1}\n$$\n:::" in shown
    assert "$$\ny = 1 \\tag{2}\n$$" in shown
    figure = '<figure id="fig-a" class="figure">\n<img src="a.png" alt="Alt, &#x27;quoted&#x27;" class="img-fluid">'
    assert figure in shown and "Figure\u00a01: A *picture*" in shown


def test_on_github_equations_and_captions_are_html(bib: Path):
    shown = resolved(bib, LABELLED, to=refs.GITHUB)[0]["source"]
    assert '<div id="eq-energy" class="equation">\n\n$$\nE = -x^2 \\tag{1}\n$$\n\n</div>' in shown
    assert ":::" not in shown and "{#" not in shown


def test_an_equation_stays_in_its_list_and_its_quotation(bib: Path):
    shown = resolved(bib, "- item\n\n  $$\n  x\n  $$ {#eq-a}\n\n> $$\n> y\n> $$ {#eq-b}\n")[0]["source"]
    assert "\n  $$\n  x \\tag{1}\n  $$\n" in shown
    assert "\n> $$\n> y \\tag{2}\n> $$\n" in shown


def test_equations_without_a_label_have_no_number(bib: Path):
    shown = resolved(bib, "$$\na\n$$\n\n$$ b $$ {#eq-b}\n\n$$c$$")[0]["source"]
    assert shown.count(r"\tag") == 1 and r"b \tag{1}" in shown and shown.startswith("$$\na\n$$\n")


def test_links_lead_where_they_are_sent(bib: Path):
    nb = refs.resolve(notebook("[a](00_core.qmd#x)"), "page", bib, bib.parent, refs.SITE, lambda url: url.upper())
    assert nb["cells"][0]["source"] == "[a](00_CORE.QMD#X)"


# ------------------------------------------------------------------ cells and outputs

FIGURE = '#| echo: false\n#| label: fig-b\n#| fig-cap: "The *energy* $E$ [@hopfield1982]"\n#| fig-alt: "{A} \\"curve\\""\nplot()'


def test_a_labelled_cell_becomes_a_figure(bib: Path, tmp_path: Path):
    picture = shows({"image/png": {"width": 300}}, image_png=PIXEL, text_plain="<Figure>")
    figure, see, _ = resolved(bib, code(FIGURE, picture), "See @fig-b")
    assert figure["source"] == "#| echo: false\nplot()"
    [out] = figure["outputs"]
    shown = out["data"]["text/markdown"]
    assert list(out["data"]) == ["text/markdown"]
    assert '<figure id="fig-b" class="figure">' in shown
    assert '<img src="page_files/fig-b.png" alt="{A} &quot;curve&quot;" width="300" class="img-fluid">' in shown
    assert "Figure\u00a01: The *energy* $E$ ([Hopfield 1982](#ref-hopfield1982))" in shown
    assert see["source"] == "See [Figure\u00a01](#fig-b)"
    assert (tmp_path / "page_files" / "fig-b.png").read_bytes() == base64.b64decode(PIXEL)


def test_figures_are_numbered_in_reading_order(bib: Path):
    cells = resolved(bib, LABELLED, code(FIGURE, shows(image_png=PIXEL)), "@fig-a @fig-b")
    assert cells[2]["source"] == "[Figure\u00a01](#fig-a) [Figure\u00a02](#fig-b)"


def test_a_caption_without_a_label_has_no_number(bib: Path):
    [cell] = resolved(bib, code("#| fig-cap: Plain\nplot()", shows(image_svg__xml="", **{"image_svg+xml": "<svg/>"})))
    assert "\nPlain\n" in cell["outputs"][0]["data"]["text/markdown"]
    assert "Figure" not in cell["outputs"][0]["data"]["text/markdown"]


@pytest.mark.parametrize("pictures", [0, 2])
def test_a_figure_shows_one_picture(bib: Path, pictures: int):
    with pytest.raises(nbs.BuildError, match=f"page: the cell 'fig-b' has a caption, so it shows one picture, not {pictures}"):
        resolved(bib, code(FIGURE, *[shows(image_png=PIXEL)] * pictures))


def test_other_cells_and_outputs_are_left_alone(bib: Path):
    cells = [
        code("#| export\n#| code-fold: true\n@patch  # [@nobody] @fig-x\ndef f(): ...", shows(text_plain="@nobody")),
        {"cell_type": "raw", "id": "r", "metadata": {}, "source": "---\ntitle: '@nobody'\n---"},
    ]
    assert resolved(bib, *cells) == cells


def test_the_given_notebook_is_not_changed(bib: Path):
    nb = {"cells": [markdown("[@krotov2016]"), code(FIGURE, shows(image_png=PIXEL))]}
    before = json.dumps(nb)
    refs.resolve(nb, "page", bib, bib.parent / "page_files")
    assert json.dumps(nb) == before


# ------------------------------------------------------------------ the bibliography of the project


def test_the_bibliography_is_sorted_and_complete():
    bib = Path(refs.__file__).parents[1] / "nbs" / "references.bib"
    keys = re.findall(r"^@\w+\{([^,]+),", bib.read_text(), re.M)
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    works = json.loads(pypandoc.convert_file(str(bib), "csljson", "bibtex"))
    assert [work["id"] for work in works] == keys
    for work in works:
        assert work["author"] and work["title"] and work["issued"], work["id"]
        assert work["id"][-1].isalpha() and str(work["issued"]["date-parts"][0][0]) in work["id"], work["id"]
