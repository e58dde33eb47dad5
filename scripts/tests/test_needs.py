"""What is run again, and what is not."""

import pytest

from scripts import nbs
from scripts.needs import Needs
from scripts.project import cells


def notebook(tmp_path, name: str, *code: str):
    file = tmp_path / name
    file.write_text("\n".join(f"```{{python}}\n{o}\n```\n" for o in code))
    return nbs.read(file)


def needs(tmp_path, **code: str) -> Needs:
    """Of a package whose modules have this code, and a function each with the module's name, as `B` in `b`; `_` is private."""
    made = Needs.__new__(Needs)
    made.modules = {o: cells(notebook(tmp_path, o, code.get(o, f"def {o.upper()}(): pass"))) for o in "_abc"}
    made.names = {o.upper(): o for o in "abc"}
    made.modules["tests.a"] = made.modules["a"]
    made.runner, made.results = [], {"a.json": "1"}
    return made


USES = {
    "nothing": ("import math", ""),
    "from a module": ("from hamux.a import A", "a"),
    "from a module that has it from another": ("from hamux.a import C", "ac"),
    "a module": ("import hamux.a as x", "a"),
    "a module of the package": ("from hamux import a", "a"),
    "from the package": ("from hamux import A, C", "ac"),
    "within a function": ("def f(): from hamux.b import B", "b"),
    "an attribute": ("import hamux as hmx\nhmx.B()", "b"),
    "an attribute of a module": ("import hamux\nhamux.b.B()", "b"),
    "the package as a whole": ("import hamux as hmx\nfor o in dir(hmx): ...", "_abc"),
    "everything": ("from hamux import *", "_abc"),
    "its files": ("import hamux as hmx\nhmx.__file__", "_abc"),
    "a program": ("run('python -m hamux.c')", "c"),
    "another package": ("from hamuxes.a import A", ""),
}


@pytest.mark.parametrize("code, modules", USES.values(), ids=USES.keys())
def test_used(tmp_path, code, modules):
    found = cells(notebook(tmp_path, "page", *code.split("\n", 1)))
    assert "".join(sorted(set(needs(tmp_path).used(found)))) == modules


EDITS = {  # code of `a`, and whether it counts
    "a comment": ("def A(): pass  # so", False),
    "a docstring": ("def A():\n    '''So.'''\n    pass", False),
    "layout": ("def A():\n\n    pass", False),
    "an option": ("#| code-fold: true\ndef A(): pass", False),
    "a body": ("def A(): return 1", True),
    "a default": ("def A(x=1): pass", True),
    "a text that is no docstring": ("def A(): pass\n'''So.'''", True),
    "not run": ("#| eval: false\ndef A(): pass", True),
}


@pytest.mark.parametrize("code, counts", EDITS.values(), ids=EDITS.keys())
def test_a_key_changes_with_the_code_that_is_used(tmp_path, code, counts):
    """`b` uses `a`, so that a page which uses `b` depends on both; one that uses `c` does not."""
    one, other = cells(notebook(tmp_path, "1", "from hamux.b import B")), cells(notebook(tmp_path, "2", "import hamux.c"))
    b = "from hamux.a import A"
    before, after = needs(tmp_path, b=b), needs(tmp_path, b=b, a=code)
    assert (before.key(one) != after.key(one)) == counts
    assert before.key(other) == after.key(other)


def test_a_semicolon_counts(tmp_path):
    one, other = (cells(notebook(tmp_path, "page", o)) for o in ("x", "x;"))
    assert needs(tmp_path).key(one) != needs(tmp_path).key(other)


def test_stored_results_count_where_they_are_read(tmp_path):
    before, after = needs(tmp_path), needs(tmp_path)
    after.results = {"a.json": "2"}
    for code, counts in {"Path('results/a.json').read_text()": True, "Path('results/b.json')": False}.items():
        found = cells(notebook(tmp_path, "page", code))
        assert (before.key(found) != after.key(found)) == counts
