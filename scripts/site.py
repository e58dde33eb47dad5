"""Renders the site from what nbdev processed: with Quarto if it is there, else with smalldocs.

Both read the same prepared folder and the same `_quarto.yml`. What they do differently is evened out
here (file names, links) and in `scripts/refs.py` (citations, cross references).
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from smalldocs.config import load
from smalldocs.serve import Handler, snapshot
from smalldocs.site import Site

from scripts import refs


def build(
    proc: Path,  # what nbdev processed: notebooks, `_quarto.yml`, `references.bib`, styles
    out: Path,  # where the site goes; replaced as a whole
    live: bool = False,  # let open pages reload when the site changes
) -> None:
    """Build the whole site."""
    quarto = None if live else shutil.which("quarto")
    work = prepare(proc, quarto=bool(quarto))
    if quarto:
        print("site: rendering with Quarto", flush=True)
        subprocess.run([quarto, "render", "--no-cache"], cwd=work, check=True)
    else:
        print("site: rendering with smalldocs" + ("" if live else " (there is no quarto on the PATH)"), flush=True)
        site = Site(load(work), quiet=True, preview=live)
        site.build()
        if site.broken:
            raise ValueError("broken links: " + "; ".join(sorted({f"{page}: {link}" for page, link in site.broken})))
    _mirror(work / "_docs", out)


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
    """Serve the site and rebuild it, with smalldocs, when a source is saved. Open pages reload by themselves."""
    seen = _times(watch)
    build(proc, out, live=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(out)))
    print(f"site: http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)
            seen, old = _times(watch), seen
            if changed := sorted(path for path in seen.keys() | old.keys() if seen.get(path) != old.get(path)):
                print(f"site: {', '.join(path.name for path in changed)} changed", flush=True)
                _renew(process, changed, proc, out)
    server.shutdown()
    server.server_close()


def _renew(process: Callable[[list[Path]], object], changed: list[Path], proc: Path, out: Path) -> None:
    try:
        process(changed)
        build(proc, out, live=True)
        Handler.version += 1  # what open pages ask for
    except Exception as e:  # a slip in a source is mended while the preview runs
        print(f"site: {e}", flush=True)


def _times(folders: list[Path]) -> dict[Path, float]:
    """When each file was last saved."""
    return {Path(path): when for folder in folders for path, when in snapshot(folder, folder / "_docs").items()}


def prepare(proc: Path, quarto: bool) -> Path:
    """A copy of `proc` in which pages have their final names, links lead to them, and nothing is left to resolve."""
    work = proc.parent / "_site"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(proc, work, ignore=shutil.ignore_patterns("_docs", "_site", "tests"))
    refs.resolve_folder(work, work / "references.bib", quarto)
    config = yaml.safe_load((work / "_quarto.yml").read_text(encoding="utf-8"))
    base = config["website"]["site-url"].rstrip("/") + "/"
    repo = config["website"]["repo-url"].rstrip("/")
    # nbdev drops the number: 00_core.ipynb becomes core.html.
    final = {path.stem: re.sub(r"^\d+[a-z0-9]*_", "", path.stem) for path in work.glob("*.ipynb")}
    page = re.compile(rf"(?<![\w/])/?({'|'.join(sorted(final))})\.(?:qmd|ipynb|html)\b")

    def link(text: str) -> str:
        text = re.sub(r"\[\[(`[^`]+`)\]\([^()]*\)\]\(", r"[\1](", text)  # nbdev links names that are in a link already
        text = text.replace(f"]({base}", "](")  # and leads to the published site
        return re.sub(r"(?<=\]\()[^()\s]+", lambda m: page.sub(lambda p: f"{final[p[1]]}.ipynb", m[0]), text)

    for path in [*work.glob("*.md"), *work.glob("*.qmd")]:
        path.write_text(link(path.read_text(encoding="utf-8")), encoding="utf-8")
    for old, new in final.items():
        nb = refs.map_texts(json.loads((work / f"{old}.ipynb").read_text(encoding="utf-8")), link)
        entries = {m.lower() for text in refs.texts(nb) for m in re.findall(r"^#{2,} ([\w.]+)$", text, re.M)}
        nb = refs.map_texts(nb, lambda text: _once(text, entries))
        _add_front_matter(nb, {"code-links": [{"text": f"{old}.qmd", "href": f"{repo}/blob/main/nbs/{old}.qmd"}]})
        (work / f"{old}.ipynb").unlink()
        (work / f"{new}.ipynb").write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")
    if not quarto:  # which knows the pictures that it wrote itself
        config["project"]["resources"] = ["*_files/**"]
    yml = page.sub(lambda m: f"{final[m[1]]}.ipynb", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    (work / "_quarto.yml").write_text(yml, encoding="utf-8")
    return work


def _once(text: str, entries: set[str]) -> str:
    """In a class's table of methods, let those that have an entry of their own be links to it, not second anchors."""
    row = re.compile(r'<a id="([\w.]+)"></a>(`[^`]+`)')
    return row.sub(lambda m: f"[{m[2]}](#{m[1]})" if m[1] in entries else m[0], text)


def _add_front_matter(nb: dict, more: dict) -> None:
    """Add options to the page that nbdev made of a notebook."""
    first = nb["cells"][0] if nb["cells"] and nb["cells"][0]["cell_type"] == "raw" else None
    front = yaml.safe_load("".join(first["source"]).strip().strip("-")) if first else {}
    text = f"---\n{yaml.safe_dump({**front, **more}, allow_unicode=True)}---\n"
    if first:
        first["source"] = text
    else:
        nb["cells"].insert(0, {"cell_type": "raw", "id": "front-matter", "metadata": {}, "source": text})
