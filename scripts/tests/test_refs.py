"""Citations and cross references: what is one, what it becomes, and what is refused."""

import base64
import json
import re
from pathlib import Path

import pypandoc
import pytest

from scripts import refs

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


def resolved(bib: Path, *cells: dict | str, **options: object) -> list[dict]:
    nb = {"cells": [markdown(cell) if isinstance(cell, str) else cell for cell in cells]}
    return refs.resolve(nb, "page", bib, bib.parent / "page_files", **options)["cells"]


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
        ("@four2020's", "One et al. (2020)’s"),
        ("[@amit1985a; @amit1985b]", "(Amit et al. 1985a, 1985b)"),
        ("*emphasis [@hopfield1982].*", "*emphasis (Hopfield 1982).*"),
        ("as [@hopfield1982,\neq. 8] says", "as (Hopfield 1982, eq. 8) says"),
    ],
)
def test_a_citation_reads_as_quarto_would_write_it(bib: Path, written: str, shown: str):
    assert text(bib, written) == shown.replace("’", "'")


def test_a_citation_leads_to_its_entry_in_the_list(bib: Path):
    cited, works = (cell["source"] for cell in resolved(bib, "[@krotov2016]"))
    assert "(#ref-krotov2016)" in cited
    assert works.startswith("## References\n") and 'id="ref-krotov2016"' in works and "*NIPS*" in works
    assert "Hopfield, J. J. 1982" not in works  # only what the page cites


def test_a_page_without_citations_has_no_list(bib: Path):
    assert len(resolved(bib, "No works here.")) == 1


UNTOUCHED = [
    "mail first.last@krotov2016.org or <me@krotov2016.org>",
    "`@krotov2016` and ``a ` @krotov2016``",
    "a decorator, `@patch`, and A @ B",
    r"escaped \@krotov2016",
    "$x_@krotov2016$ and $$y @krotov2016$$",
    "[link](https://x.org/@krotov2016) <https://x.org/@krotov2016>",
    "<!-- @krotov2016 -->",
    '<a href="@krotov2016">x</a>',
    "```python\n@krotov2016\ndef f(): ...\n```",
    "~~~\n[@krotov2016]\n~~~",
    "````\n```\n@krotov2016\n```\n````",
    "- item\n\n  ```\n  @krotov2016\n  ```",
    "> ```\n> @krotov2016\n> ```",
    "    indented @krotov2016",
    "<pre>\n@krotov2016\n</pre>",
    "[^1]\n\n[^1]: a note",
    "",
]


@pytest.mark.parametrize("written", UNTOUCHED)
def test_code_mail_links_and_maths_are_left_alone(bib: Path, written: str):
    assert [cell["source"] for cell in resolved(bib, written)] == [written]


ODD = [
    *UNTOUCHED,
    "See @krotov2016. [@krotov2016], (@krotov2016) “@krotov2016” @krotov2016: *@krotov2016*",
    "x@krotov2016 -@krotov2016 /@krotov2016 [a @krotov2016](b)",
    "| a |\n|---|\n| [@krotov2016; see @hopfield1982, p. 3] |",
    "- @krotov2016\n\n      @hopfield1982 in code\n\n  @four2020",
    "> quoted [@krotov2016]\n\n::: {.callout-note title='@hopfield1982'}\n@four2020\n:::",
    "# Heading [@krotov2016] {#sec-a}\n\n![caption @hopfield1982](x.png){#fig-a}",
    "$5 and @krotov2016 and $6",
    "a `b` @krotov2016 `c @hopfield1982`",
    "line\n@krotov2016\nline https://x.org/@hopfield1982",
]


@pytest.mark.parametrize("written", ODD)
def test_pandoc_sees_the_same_citations(written: str):
    """Pandoc reads pages for Quarto, so its opinion on what is a citation is the one that counts."""

    def walk(node: object) -> list[str]:
        if isinstance(node, dict) and node.get("t") == "Cite":
            return [cite["citationId"] for cite in node["c"][0]]
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        return [key for child in children for key in walk(child)]

    theirs = walk(json.loads(pypandoc.convert_text(written, "json", "markdown"))["blocks"])
    ours = [key for cite in refs._cites(written) for key in refs._keys(cite)]
    assert ours == list(dict.fromkeys(theirs)) if "![" in written else ours == theirs  # a caption is the alt text too


@pytest.mark.parametrize(
    "written, complaint",
    [
        ("@krotow2016", r"page: @krotow2016 is not in works.bib; do you mean @krotov2016\?"),
        ("@patch", "page: @patch is not in works.bib; code belongs in backticks"),
        ("[@krotov2016; @nobody]", "page: @nobody is not in works.bib"),
        ("see @fig-none", "page: @fig-none is no label of this page"),
        ("$$x$$ {#eq-a}\n\n@eq-b", r"page: @eq-b is no label of this page; do you mean @eq-a\?"),
        ("[@krotov2016; @fig-a]", "page: .* mixes citations and cross references"),
        ("$$x$$ {#eq-a}\n\n$$y$$ {#eq-a}", "page: the label eq-a is given twice"),
        ("in the text $$x$$ {#eq-a} and on", "page: .*{#eq-a} stands where no label is read"),
        ("$$x$$ {#eq-a} and on", "page: .*{#eq-a} stands where no label is read"),
    ],
)
def test_what_nothing_answers_to_is_refused(bib: Path, written: str, complaint: str):
    with pytest.raises(refs.RefError, match=complaint):
        resolved(bib, written)


def test_all_problems_are_told_at_once(bib: Path, tmp_path: Path):
    for name, source in {"00_a": "@nobody and @noone", "01_b": "@eq-none"}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": [markdown(source)]}))
    with pytest.raises(refs.RefError) as told:
        refs.resolve_folder(tmp_path, bib)
    lines = str(told.value).splitlines()
    assert [line.split(" is ")[0] for line in lines] == ["00_a: @nobody", "00_a: @noone", "01_b: @eq-none"]


@pytest.mark.parametrize("quarto", [False, True])
def test_it_is_refused_for_quarto_too_and_in_outputs_and_captions(bib: Path, quarto: bool):
    cells = [
        "@nobody",
        code("show_doc(f)", shows(text_markdown="*Doc [@nobody, eq. 8].*")),
        code('#| fig-cap: "By @nobody"', shows(image_png=PIXEL)),
    ]
    for cell in cells:
        with pytest.raises(refs.RefError, match="@nobody"):
            resolved(bib, cell, quarto=quarto)


# ------------------------------------------------------------------ cross references

LABELLED = """## Why it `falls` {#sec-why}

$$
E = -x^2
$$ {#eq-energy}

$$ y = 1 $$ {#eq-y}

![A *picture*](a.png){#fig-a fig-alt="Alt, 'quoted'"}

| a |
|---|
| 1 |

: A table {#tbl-a}
"""


@pytest.mark.parametrize(
    "written, shown",
    [
        ("@eq-y", "[Equation&nbsp;2](#eq-y)"),
        ("[@eq-y]", "[Equation&nbsp;2](#eq-y)"),
        ("([-@eq-y])", "([2](#eq-y))"),
        ("[@eq-energy; @eq-y]", "[Equation&nbsp;1](#eq-energy), [Equation&nbsp;2](#eq-y)"),
        ("[Eq. @eq-y]", "[Eq.&nbsp;2](#eq-y)"),
        ("@fig-a, @tbl-a.", "[Figure&nbsp;1](#fig-a), [Table&nbsp;1](#tbl-a)."),
        ("@sec-why", "[“Why it `falls`”](#sec-why)"),
        ("[-@sec-why]", "[Why it `falls`](#sec-why)"),
    ],
)
def test_a_cross_reference_is_a_link_with_the_number(bib: Path, written: str, shown: str):
    assert resolved(bib, written, LABELLED)[0]["source"] == shown


def test_labels_become_anchors_and_numbers(bib: Path):
    shown = resolved(bib, LABELLED)[0]["source"]
    assert '## <a id="sec-why"></a>Why it `falls`' in shown
    assert '<div id="eq-energy" class="equation">\n\n$$\nE = -x^2 \\tag{1}\n$$\n\n</div>' in shown
    assert r"$$" + "\n" + r"y = 1 \tag{2}" in shown
    assert '<figure id="fig-a" class="figure">\n<img src="a.png" alt="Alt, \'quoted\'" class="img-fluid">' in shown
    assert "Figure&nbsp;1: A *picture*" in shown
    assert '<div id="tbl-a" class="table-caption">\n\nTable&nbsp;1: A table\n' in shown
    assert "{#" not in shown


def test_an_equation_stays_in_its_list_and_its_quotation(bib: Path):
    shown = resolved(bib, "- item\n\n  $$\n  x\n  $$ {#eq-a}\n\n> $$\n> y\n> $$ {#eq-b}\n")[0]["source"]
    assert "\n  $$\n  x \\tag{1}\n  $$\n" in shown
    assert "\n> $$\n> y \\tag{2}\n> $$\n" in shown


def test_equations_without_a_label_have_no_number(bib: Path):
    written = "$$\na\n$$\n\n$$ b $$ {#eq-b}\n\n$$c$$"
    shown = resolved(bib, written)[0]["source"]
    assert shown.count(r"\tag") == 1 and r"b \tag{1}" in shown and shown.startswith("$$\na\n$$\n")


def test_a_reference_to_another_page_says_how_to_link(bib: Path):
    with pytest.raises(refs.RefError, match=re.escape("write a link: [text](01_other.qmd#fig-far)")):
        resolved(bib, "@fig-far", elsewhere={"fig-far": "01_other"})


def test_quarto_keeps_all_but_references_to_sections(bib: Path):
    cells = [cell["source"] for cell in resolved(bib, "@sec-why, @eq-y, [@krotov2016]", LABELLED, quarto=True)]
    assert cells == ["[“Why it `falls`”](#sec-why), @eq-y, [@krotov2016]", LABELLED]


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
    assert (
        '<img src="page_files/fig-b.png" alt="&#123;A&#125; &quot;curve&quot;" width="300" class="img-fluid">' in shown
    )
    assert "Figure&nbsp;1: The *energy* $E$ ([Hopfield 1982](#ref-hopfield1982))" in shown
    assert see["source"] == "See [Figure&nbsp;1](#fig-b)"
    assert (tmp_path / "page_files" / "fig-b.png").read_bytes() == base64.b64decode(PIXEL)


def test_figures_are_numbered_in_reading_order(bib: Path):
    cells = resolved(bib, LABELLED, code(FIGURE, shows(image_png=PIXEL)), "@fig-a @fig-b")
    assert cells[2]["source"] == "[Figure&nbsp;1](#fig-a) [Figure&nbsp;2](#fig-b)"


def test_a_caption_without_a_label_has_no_number(bib: Path):
    [cell] = resolved(bib, code("#| fig-cap: Plain\nplot()", shows(image_svg__xml="", **{"image_svg+xml": "<svg/>"})))
    assert "\nPlain\n" in cell["outputs"][0]["data"]["text/markdown"]
    assert "Figure" not in cell["outputs"][0]["data"]["text/markdown"]


def test_a_labelled_table_gets_its_caption(bib: Path):
    cell, see = resolved(
        bib, code("#| label: tbl-r\n#| tbl-cap: Rates\nt", shows(text_html="<table></table>")), "@tbl-r"
    )
    assert [*cell["outputs"][0]["data"]] == ["text/html"]
    assert "Table&nbsp;1: Rates" in cell["outputs"][1]["data"]["text/markdown"]
    assert see["source"] == "[Table&nbsp;1](#tbl-r)"


@pytest.mark.parametrize("pictures", [0, 2])
def test_a_figure_shows_one_picture(bib: Path, pictures: int):
    with pytest.raises(refs.RefError, match=f"'fig-b' has a figure caption, so it shows one picture, not {pictures}"):
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


def test_a_folder_is_resolved_in_place_and_knows_its_pages(bib: Path, tmp_path: Path):
    for name, source in {"00_a": LABELLED + "\n@eq-y", "01_b": "[@krotov2016]"}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": [markdown(source)]}))
    refs.resolve_folder(tmp_path, bib)
    assert "Equation&nbsp;2" in (tmp_path / "00_a.ipynb").read_text()
    assert "Krotov, Dmitry" in (tmp_path / "01_b.ipynb").read_text()
    (tmp_path / "01_b.ipynb").write_text(json.dumps({"cells": [markdown("@sec-a")]}))
    (tmp_path / "00_a.ipynb").write_text(json.dumps({"cells": [markdown("# A {#sec-a}")]}))
    with pytest.raises(refs.RefError, match="01_b: @sec-a is on another page; write a link"):
        refs.resolve_folder(tmp_path, bib)


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
