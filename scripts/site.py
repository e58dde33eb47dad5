"""Renders the site from what nbdev processed: with Quarto if it is there, else with smalldocs.

Both read the same prepared folder and the same `_quarto.yml`. What they do differently is evened out
here (docs/links) and in `scripts/refs.py` (citations, cross references).
"""

import configparser
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import smalldocs.serve
import smalldocs.site
import yaml
from smalldocs.config import load

from scripts import refs

ROOT = Path(__file__).resolve().parents[1]


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
        site = smalldocs.site.Site(load(work), quiet=True, preview=live)
        site.build()
        if site.broken:
            raise ValueError("broken links: " + "; ".join(f"{page}: {link}" for page, link in site.broken))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work / "_docs", out)


def preview(
    process: Callable[[list[Path]], object],  # brings `proc` up to date after these files have changed
    proc: Path,
    out: Path,
    watch: Path = ROOT / "nbs",  # the sources
    port: int = 4200,
    forever: bool = True,
) -> http.server.ThreadingHTTPServer:
    """Serve the site and rebuild it, with smalldocs, whenever a source changes; open pages reload by themselves."""
    build(proc, out, live=True)
    handler = functools.partial(smalldocs.serve.Handler, directory=str(out))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    print(f"site: http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = smalldocs.serve.snapshot(watch, out)
    while forever:
        time.sleep(0.5)
        now = smalldocs.serve.snapshot(watch, out)
        changed = sorted(Path(path) for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))
        seen = now
        if changed:
            print(f"site: {', '.join(path.name for path in changed)} changed", flush=True)
            try:
                process(changed)
                build(proc, out, live=True)
                smalldocs.serve.Handler.version += 1  # what open pages ask for
            except Exception:  # a mistake in a source is mended while the preview runs
                traceback.print_exc()
    return server


def prepare(proc: Path, quarto: bool) -> Path:
    """A copy of `proc` in which every page has its final name and its links, and nothing is left to resolve."""
    work = proc.parent / "_site"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(proc, work, ignore=shutil.ignore_patterns("_docs", "*.bak"))
    refs.resolve_folder(work, work / "references.bib", quarto)
    config = work / "_quarto.yml"
    final = {path.stem: re.sub(r"^\d+[a-z0-9]*_", "", path.stem) for path in work.glob("*.ipynb")}  # nbdev's names
    sources = rf"\b({'|'.join(sorted(final))})\.(?:qmd|ipynb|html)\b"
    config.write_text(re.sub(sources, lambda m: f"{final[m[1]]}.ipynb", config.read_text()))
    base = yaml.safe_load(config.read_text())["website"]["site-url"].rstrip("/") + "/"
    for old, new in final.items():
        nb = json.loads((work / f"{old}.ipynb").read_text(encoding="utf-8"))
        for cell in nb["cells"]:
            if cell["cell_type"] != "code":
                cell["source"] = _link(refs._join(cell["source"]), sources, final, base)
            for data in (o.get("data", {}) for o in cell.get("outputs", [])):
                if "text/markdown" in data:
                    data["text/markdown"] = _link(refs._join(data["text/markdown"]), sources, final, base)
        (work / f"{old}.ipynb").unlink()
        (work / f"{new}.ipynb").write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")
    return work


def _link(text: str, sources: str, final: dict[str, str], base: str) -> str:
    """Let links lead to the pages of this build: those to notebooks, and nbdev's to the published site."""
    text = text.replace(f"]({base}", "](")
    return re.sub(rf"(?<=\]\(){sources}", lambda m: f"{final[m[1]]}.ipynb", text)
