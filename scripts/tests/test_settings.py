"""`settings.ini`, which nbdev reads, says what `pyproject.toml` says, which is the truth."""

import re

import pytest

from scripts.project import ABOUT, ROOT

SOURCE, DOCS = ABOUT["urls"]["Source"], ABOUT["urls"]["Documentation"]
EXPECTED = {
    "lib_name": ABOUT["name"],
    "version": ABOUT["version"],
    "min_python": ABOUT["requires-python"].removeprefix(">="),
    "license": {"Apache-2.0": "apache2"}[ABOUT["license"]],
    "description": ABOUT["description"],
    "author": ", ".join(o["name"] for o in ABOUT["authors"]),
    "keywords": ", ".join(ABOUT["keywords"]),
    "git_url": SOURCE,
    "user": SOURCE.split("/")[-2],
    "repo": SOURCE.split("/")[-1],
    "doc_host": DOCS.rpartition("/")[0],
    "doc_baseurl": "/" + DOCS.rpartition("/")[2],
}


@pytest.mark.parametrize("name, value", EXPECTED.items())
def test_in_step(name, value):
    rows = dict(re.findall(r"^(\w+) *= *(.*?) *$", (ROOT / "settings.ini").read_text(), re.M))
    assert rows.get(name) == value
