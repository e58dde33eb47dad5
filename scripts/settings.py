"""Keeps `settings.ini` in step with `pyproject.toml`, which is the truth."""

import re

from scripts.project import ABOUT, ROOT


def problems() -> list[str]:
    """Where the two differ."""
    rows = dict(re.findall(r"^(\w+) *= *(.*?) *$", (ROOT / "settings.ini").read_text(), re.M))
    return [
        f"settings.ini says {name} = {rows.get(name, '')!r}, and pyproject.toml {value!r}; write that"
        for name, value in expected().items()
        if rows.get(name) != value
    ]


def expected() -> dict[str, str]:
    """What `settings.ini` must say, as far as `pyproject.toml` knows."""
    source, docs = ABOUT["urls"]["Source"], ABOUT["urls"]["Documentation"]
    return {
        "lib_name": ABOUT["name"],
        "version": ABOUT["version"],
        "min_python": ABOUT["requires-python"].removeprefix(">="),
        "license": {"Apache-2.0": "apache2"}[ABOUT["license"]],
        "description": ABOUT["description"],
        "author": ", ".join(o["name"] for o in ABOUT["authors"]),
        "keywords": ", ".join(ABOUT["keywords"]),
        "git_url": source,
        "user": source.split("/")[-2],
        "repo": source.split("/")[-1],
        "doc_host": docs.rpartition("/")[0],
        "doc_baseurl": "/" + docs.rpartition("/")[2],
    }
