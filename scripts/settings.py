"""Keeps `settings.ini` in step with `pyproject.toml`, which is the truth."""

import re
import tomllib

from scripts.project import ROOT


def expected() -> dict[str, str]:
    """What `settings.ini` must say, as far as `pyproject.toml` knows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    source, docs = project["urls"]["Source"], project["urls"]["Documentation"]
    return {
        "lib_name": project["name"],
        "version": project["version"],
        "min_python": project["requires-python"].removeprefix(">="),
        "license": {"Apache-2.0": "apache2"}[project["license"]],
        "description": project["description"],
        "author": ", ".join(o["name"] for o in project["authors"]),
        "keywords": ", ".join(project["keywords"]),
        "git_url": source,
        "user": source.split("/")[-2],
        "repo": source.split("/")[-1],
        "doc_host": docs.rpartition("/")[0],
        "doc_baseurl": "/" + docs.rpartition("/")[2],
    }


def problems() -> list[str]:
    text = (ROOT / "settings.ini").read_text()
    rows = dict(re.findall(r"^(\w+) *= *(.*?) *$", text, re.M))
    return [
        f"settings.ini says {name} = {rows.get(name, '')!r}, pyproject.toml {value!r}; run `python -m scripts.build sync`"
        for name, value in expected().items()
        if rows.get(name) != value
    ]


def sync() -> None:
    file = ROOT / "settings.ini"
    text = file.read_text()
    for name, value in expected().items():
        row = f"{name} = {value}"
        text, found = re.subn(rf"^{name} *=.*$", lambda _: row, text, flags=re.M)
        text += f"{row}\n" * (not found)
    file.write_text(text)
