"""The notebooks' reader: what is a cell, what its id is, and that nothing of the text is lost."""

import pytest
from nbformat import NotebookNode

from scripts import nbs

CELL = "```{python}\nx = 1\n```\n"


def read(tmp_path, text: str | bytes) -> NotebookNode:
    file = tmp_path / "page.qmd"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return nbs.read(file)


def code(nb: NotebookNode) -> list[str]:
    return [c.source for c in nb.cells if c.cell_type == "code"]


def ids(nb: NotebookNode) -> list[str]:
    return [c.id for c in nb.cells]


AWKWARD = {  # what is read, and the sources of the cells that it holds
    "nothing at all": ("", []),
    "blank lines only": ("\n \n\n", []),
    "one cell": (CELL, ["x = 1"]),
    "no newline at the end": ("Text\n\n```{python}\nx = 1\n```", ["x = 1"]),
    "no newline at the end of prose": (CELL + "\nText", ["x = 1"]),
    "blank lines around": ("\n\n" + CELL + "\n\n\n" + CELL + "\n\n", ["x = 1", "x = 1"]),
    "cells that touch": (CELL + CELL, ["x = 1", "x = 1"]),
    "an empty cell": ("```{python}\n```\n", [""]),
    "a cell of blank lines": ("```{python}\n\n\n```\n", ["\n"]),
    "blank lines in a cell": ("```{python}\n\nx = 1\n\n\ny = 2\n\n```\n", ["\nx = 1\n\n\ny = 2\n"]),
    "tildes": ("~~~{python}\nx = '```'\n~~~\n", ["x = '```'"]),
    "a longer fence": ("`````{python}\nx = '''\n```{python}\n```\n'''\n`````\n", ["x = '''\n```{python}\n```\n'''"]),
    "a fence closed by a longer one": ("```{python}\nx = 1\n`````\n", ["x = 1"]),
    "white space after the fence": ("```{python}  \nx = 1\n```  \nText\n", ["x = 1"]),
    "a fence within a fence": ("````markdown\n" + CELL + "````\n" + CELL, ["x = 1"]),
    "a fence within tildes": ("~~~\n" + CELL + "~~~\n", []),
    "in a list": ("1. One\n\n   ```{python}\n   if x:\n\n       y\n   ```\n\n2. Two\n", ["if x:\n\n    y"]),
    "in a nested list": ("- a\n  - b\n\n    ```{python}\n    x = 1\n    ```\n", ["x = 1"]),
    "in a callout": ("::: {.callout-note}\nText\n\n" + CELL + ":::\n", ["x = 1"]),
    "in a callout, tight": ("::: {.callout-note}\n" + CELL + ":::\n", ["x = 1"]),
    "options in the cell": (
        '```{python}\n#| label: fig-x\n#| fig-cap: "a: b"\nx\n```\n',
        ['#| label: fig-x\n#| fig-cap: "a: b"\nx'],
    ),
    "a long option": ("```{python}\n#| fig-cap: |\n#|   a\n#|   b\nx\n```\n", ["#| fig-cap: |\n#|   a\n#|   b\nx"]),
    "an option list": (
        "```{python}\n#| export\n#| fig-cap:\n#|   - a\n#|   - b\nx\n```\n",
        ["#| export\n#| fig-cap:\n#|   - a\n#|   - b\nx"],
    ),
    "other languages": (
        "```python\nx\n```\n\n```{r}\nx\n```\n\n```{.python}\nx\n```\n\n```\nx\n```\n\n```{pythonic}\n```\n",
        [],
    ),
    "inline code": ("Write `` ```{python} `` for a cell.\n", []),
    "within HTML": ("<div>\n" + CELL + "</div>\n", ["x = 1"]),
    "a heading in a cell": ("```{python}\n# Not a title\n```\n", ["# Not a title"]),
    "a title": ("# Title\n\n> Subtitle.\n\nText\n\n" + CELL, ["x = 1"]),
    "a title, tight": ("# Title\n> Subtitle.\nText\n" + CELL, ["x = 1"]),
    "a title alone": ("# Title", []),
    "not ASCII": ("# Ökonomie ∂E/∂x̂ 🙂\n\n```{python}\nβ = 'é\u2028\x0c'\n```\n", ["β = 'é\u2028\x0c'"]),
    "CRLF": ("# Title\r\n\r\n```{python}\r\nx = 1\r\ny = 2\r\n```\r\n\r\nText\r\n", ["x = 1\ny = 2"]),
    "math": ("$$\nx\n$$ {#eq-x}\n\nSee @eq-x.\n\n" + CELL, ["x = 1"]),
}


@pytest.mark.parametrize("text, sources", AWKWARD.values(), ids=AWKWARD.keys())
def test_cells_and_their_lines(tmp_path, text, sources):
    nb = read(tmp_path, text)
    assert code(nb) == sources
    rows = text.replace("\r\n", "\n").split("\n")
    for cell in nb.cells:
        place = rows[cell.metadata.qmd.line - 1 :][: cell.source.count("\n") + 1]
        if cell.source:
            assert [o.strip() for o in place] == [o.strip() for o in cell.source.split("\n")]
    prose = [c.source for c in nb.cells if c.cell_type == "markdown"]
    for row in rows:  # nothing is lost
        assert not row.strip() or row.strip() in "\n".join([*prose, *sources]) or row.lstrip(" -")[:3] in ("```", "~~~")


def test_the_title_has_a_cell_of_its_own(tmp_path):
    """nbdev turns the cell that holds the title into front matter, and drops what else is in it."""
    nb = read(tmp_path, "# Title\n\n> Subtitle.\n\nText\n\n" + CELL + "# Not the title\nText\n")
    assert [c.source for c in nb.cells] == ["# Title\n\n> Subtitle.", "Text", "x = 1", "# Not the title\nText"]


NAMES = {
    "def f(x):\n    return x": "f",
    "@jit\ndef f(x):\n    return x": "f",
    "async def f(): ...": "f",
    "class A: ...\nclass B: ...": "A",
    "import a\nx = 1": "x",
    "X: int = 1": "X",
    "import a\nfrom b import c": "imports",
    "#| code-fold: true\nx = 1": "x",
}


@pytest.mark.parametrize("source, name", NAMES.items())
def test_an_exported_cell_is_named_for_what_it_defines(tmp_path, source, name):
    assert ids(read(tmp_path, f"```{{python}}\n#| export\n{source}\n```\n")) == [name]


@pytest.mark.parametrize("source", ["register(1)", "a, b = 1, 2", "β = 1", "x" * 80 + " = 1"])
def test_any_exported_cell_has_a_valid_id(tmp_path, source):
    [id] = ids(read(tmp_path, f"```{{python}}\n#| export\n{source}\n```\n"))  # nbformat.validate passed
    assert id


def test_ids_are_stable(tmp_path):
    cell = "```{{python}}\n#| export\ndef {0}():\n    return {1}\n```\n"
    before = ids(read(tmp_path, "Text\n\n" + cell.format("f", 1) + CELL + cell.format("g", 1)))
    assert before == ids(read(tmp_path, "Text\n\n" + cell.format("f", 2) + CELL + cell.format("g", 1)))
    more = "New\n\n```{python}\nf = g = 1\n```\n\n"
    after = ids(read(tmp_path, more + "Text\n\n" + cell.format("f", 1) + CELL + cell.format("g", 1)))
    assert after[2:] == before
    assert len(set(after)) == len(after)


def test_equal_cells_have_different_ids(tmp_path):
    nb = read(tmp_path, (CELL + "```{python}\n#| export\nx = 1\n```\n") * 2)
    assert len(set(ids(nb))) == 4 and {"x", "x-2"} < set(ids(nb))


PLAIN = "```{python}\nx = 1\n"
ERRORS = {
    "a fence that is not closed": ("Text\n\n" + PLAIN, 3, "never closed"),
    "a fence in the middle of a page": (PLAIN + "\nText\n\n" + CELL, 1, "never closed; in line 6 another"),
    "a prose fence in the middle": ("Text\n\n```bash\nmake\n\n" + CELL, 3, "never closed; in line 6 another"),
    "a fence before another language": ("Text\n\n" + PLAIN + "\n```bash\nmake\n```\n", 3, "never closed; in line 6"),
    "a fence closed by a shorter one": ("````{python}\nx = 1\n```\n", 1, "never closed"),
    "a fence closed by the other kind": ("~~~{python}\nx = 1\n```\n", 1, "never closed"),
    "a fence at the very end": ("Text\n```{python}", 2, "never closed"),
    "a prose fence that is not closed": ("```\n" + CELL[:-4], 1, "never closed"),
    "a fence that its list ends": ("- a\n\n  ```{python}\n  x\n\nText\n", 3, "never closed"),
    "a quoted fence": ("> ```{python}\n> x = 1\n> ```\n", 1, "a line of its own"),
    "a fence on the line of a bullet": ("- ```{python}\n  x = 1\n  ```\n", 1, "a line of its own"),
    "an option on the fence": ("Text\n```{python echo=false}\nx\n```\n", 2, "'{python echo=false}'"),
    "an unknown directive": ("```{python}\n#| hide\n#| exprot\nx\n```\n", 3, "'exprot'"),
    "a comment above an option": ("```{python}\n# Doubles.\n#| export\nx = 1\n```\n", 3, "'#| export' must stand in its"),
    "a blank line above an option": ("```{python}\n#| hide\n\n#| echo: false\nx\n```\n", 4, "above all else"),
    "bad YAML": ("Text\n```{python}\n#| export\n#| fig-cap: [a\nx\n```\n", 4, "no YAML"),
    "bad YAML further down": ('```{python}\n#| label: x\n#| fig-cap: "a" b\nx\n```\n', 3, "no YAML"),
    "front matter": ("---\ntitle: A\n---\n", 1, "front matter"),
    "a long subtitle": ("# Title\n\n> One\n> two\n\nText\n", 4, "one line"),
    "a syntax error in an exported cell": ("```{python}\n#| export\nx = 1\ndef f(:\n```\n", 4, "plain Python"),
    "a magic in an exported cell": ("```{python}\n#| export\n%time x = 1\n```\n", 3, "plain Python"),
    "not UTF-8": (b"a\n\xff\n", 2, "not UTF-8"),
}


@pytest.mark.parametrize("text, line, message", ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_place(tmp_path, text, line, message):
    with pytest.raises(nbs.NotebookError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'page.qmd'}:{line}: ")
    assert message in str(error.value)


def test_directives(tmp_path):
    nb = read(tmp_path, "```{python}\n#| hide\n#| export tests.test_core\n#| fig-cap: a b\nx = 1\n```\n")
    assert nbs.directives(nb.cells[0]) == {"hide": [], "export": ["tests.test_core"], "fig-cap": ["a", "b"]}


LONG = "x = 1\n" * 31
HIDDEN = {  # a page, the line that is named or None
    "shown": ("```{python}\n#| exports\nx = 1\n```\n", None),
    "folded": ("```{python}\n#| exports\n#| code-fold: true\nx = 1\n```\n", None),
    "imports": ("```{python}\n#| export\nimport a\nfrom b import c\n```\n", None),
    "not exported": ("```{python}\n#| hide\nx = 1\n```\n", None),
    "by export": ("Text\n\n```{python}\n#| export\nimport a\n\nx = 1\n```\n", 4),
    "by exporti": ("```{python}\n#| exporti\nx = 1\n```\n", 2),
    "by hide": ("```{python}\n#| exports\n#| hide\nx = 1\n```\n", 2),
    "by echo": ("```{python}\n#| exports\n#| echo: false\nx = 1\n```\n", 2),
    "a long run": (f"```{{python}}\n#| label: a\n{LONG}```\n\n```{{python}}\n{LONG}```\n", 37),
    "a word between": (f"```{{python}}\n{LONG}```\n\nText\n\n```{{python}}\n{LONG}```\n", None),
    "a fence of a callout is no word": (f"```{{python}}\n{LONG}```\n\n:::\n\n```{{python}}\n{LONG}```\n", 38),
    "what is hidden is not read": (f"```{{python}}\n{LONG}```\n\n```{{python}}\n#| hide\n{LONG}```\n", None),
}


EXPORTED = "```{python}\n#| exports\nx = 1\n```\n"
HIDDEN |= {
    "imports and more": (EXPORTED + "```{python}\nx\nimport y\n```\n", 7),
    "imports and more where nothing is exported": ("```{python}\nimport y\nx = 1\n```\n", None),
    "one import or another": (EXPORTED + "```{python}\ntry:\n    import y\nexcept E:\n    import z as y\n```\n", None),
    "an import in a function": (EXPORTED + "```{python}\ndef f():\n    import y\n```\n", None),
}


@pytest.mark.parametrize("text, line", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_a_reader_misses(tmp_path, text, line):
    found = list(nbs.problems("page", read(tmp_path, text)))
    assert len(found) == (line is not None)
    assert not found or found[0].startswith(f"page:{line}: ")
