"""Checks a built site the way a reader would: every link, picture and equation, in a browser, light and dark.

    python -m scripts.check_site _docs [--shots DIR]

Prints what is wrong and exits with 1 if anything is. What cannot be checked on this machine is named; under CI it counts
as wrong.
"""

import argparse
import functools
import http.server
import os
import re
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, TimeoutError, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 5000  # milliseconds
LOADED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload"}  # links that a browser follows
LEFTOVERS = {  # of Quarto's Markdown, where a reader would see them
    "a raw key": r"(?<![\w/])@[A-Za-z_]\w+",
    "a raw label": r"\{#[\w-]+",
    "a raw div": r"^\s*:{3,}",
    "raw maths": r"\$\$",
    "a raw link": r"\]\([#\w.]",
}
CODE_LEFTOVERS = {
    "a cell option": r"^#\| ",
    "an object nobody meant to show": r"^\[?<(?:matplotlib|Figure size)|^\[?Text\(",
}


# ------------------------------------------------------------------ without a browser


def static(docs: Path, root: Path = ROOT) -> list[str]:
    """What is wrong in the files of the site `docs`; `root` is the checkout that links to sources lead to."""
    files = sorted(docs.rglob("*.html"))
    pages = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in files}
    if not pages:
        return [f"{docs} has no pages"]
    ids = {path: [tag["id"] for tag in soup.select("body [id]")] for path, soup in pages.items()}
    found = []
    for path, soup in pages.items():
        name = path.relative_to(docs).as_posix()
        checks = [_links(path, soup, docs, ids), _pictures(path, soup, docs), _sources(soup, root), _leftovers(soup)]
        checks += [_hosts(soup), _navigation(name, soup), _types(soup)]
        found += [f"{name}: {finding}" for check in checks for finding in check]
        if not any(tag.get_text(strip=True) for tag in soup.select("main p, main pre")):
            found.append(f"{name}: the page says nothing")
        found += [f"{name}: the id {id} is used {n} times" for id, n in Counter(ids[path]).items() if n > 1]
    for css in sorted(docs.rglob("*.css")):
        urls = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", css.read_text(encoding="utf-8"))
        found += [f"{css.relative_to(docs).as_posix()}: {url} comes from another host" for url in urls]
    return found


def _hosts(soup: BeautifulSoup) -> Iterator[str]:
    """What a page fetches from elsewhere as it opens."""
    loaded = [tag.get("src") for tag in soup.find_all(["script", "img", "iframe", "source"])]
    loaded += [tag.get("href") for tag in soup.find_all("link") if set(tag.get("rel", [])) & LOADED]
    yield from (f"{url[:60]} comes from another host" for url in loaded if url and urlsplit(url).netloc)


def _navigation(name: str, soup: BeautifulSoup) -> Iterator[str]:
    """Whether the navigation marks this page, if it lists it, and no other."""
    entries = soup.select("#quarto-header a[href], #quarto-sidebar a[href]")
    lists = {tag["href"].removeprefix("./") for tag in soup.select("#quarto-sidebar a.sidebar-link[href]")}
    marked = {tag["href"].removeprefix("./") for tag in entries if "active" in tag.get("class", [])}
    if marked != {name} & lists:
        yield f"the navigation marks {', '.join(sorted(marked)) or 'no page'} as the one that is open"


def _types(soup: BeautifulSoup) -> Iterator[str]:
    for code in soup.select(".api td code"):
        if "\\" in code.get_text():
            yield f"a type shows a backslash: {code.get_text()}"


def _links(path: Path, soup: BeautifulSoup, docs: Path, ids: dict[Path, list[str]]) -> Iterator[str]:
    for href in sorted({tag["href"] for tag in soup.find_all(["a", "link"], href=True)}):
        parts = urlsplit(href)
        if parts.scheme or parts.netloc or not href:
            continue
        target = _file(path, parts.path, docs)
        if not target.is_file():
            yield f"the link {href} leads nowhere"
        elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in ids[target]:
            yield f"the link {href} leads to a page without that anchor"


def _file(page: Path, href: str, docs: Path) -> Path:
    """The file that a link inside the site leads to."""
    if not href:
        return page
    if href.startswith("/"):
        base = _base(docs)
        target = docs / unquote(href[len(base) :]) if href.startswith(base) else docs / "outside the site"
    else:
        target = page.parent / unquote(href)
    return target / "index.html" if target.is_dir() else target.resolve()


def _base(docs: Path) -> str:
    """The path of the published site on its host, as in `/hamux/`: links from the root start with it."""
    sitemap = docs / "sitemap.xml"
    place = re.search(r"<loc>https?://[^/<]+(/[^<]*)</loc>", sitemap.read_text()) if sitemap.is_file() else None
    return place[1][: place[1].rindex("/") + 1] if place else "/"


def _pictures(path: Path, soup: BeautifulSoup, docs: Path) -> Iterator[str]:
    for tag in soup.find_all("img"):
        src = tag.get("src", "")
        shown = src[:60]
        if not urlsplit(src).scheme and not _file(path, src, docs).is_file():
            yield f"the picture {shown} is missing"
        if not tag.get("alt", "").strip():
            yield f"the picture {shown} has no alt text"


def _sources(soup: BeautifulSoup, root: Path) -> Iterator[str]:
    """Whether links to sources lead to the definition that they promise."""
    for tag in soup.select("a.api-source"):
        name, href = tag.get("title", "").split()[-1], tag["href"]
        place = re.search(r"/blob/[^/]+/(.+)#L(\d+)$", href)
        lines = (root / place[1]).read_text().splitlines() if place and (root / place[1]).is_file() else []
        line = lines[int(place[2]) - 1] if place and int(place[2]) <= len(lines) else ""
        if not re.search(rf"\b(?:def|class)\s+{re.escape(name.split('.')[-1])}\b", line):
            yield f"the source of {name} is not at {href}"


def _leftovers(soup: BeautifulSoup) -> Iterator[str]:
    for node in (node for main in soup.select("main") for node in main.find_all(string=True)):
        above = {tag.name for tag in node.parents}
        if above & {"script", "style"} or ("code" in above and "pre" not in above):
            continue
        for what, pattern in (CODE_LEFTOVERS if "pre" in above else LEFTOVERS).items():
            if left := re.search(pattern, node, re.M):
                yield f"{what} is shown: {node[max(0, left.start() - 20) : left.end() + 20].strip()!r}"
    for tag in soup.select(".citation strong"):  # Pandoc's and Quarto's way to say that a key is unknown
        yield f"an unknown citation is shown: {tag.get_text()}"


# ------------------------------------------------------------------ in a browser


def browse(docs: Path, shots: Path | None = None, program: str | None = None) -> tuple[list[str], list[str]]:
    """What is wrong in the browser, and what could not be looked at."""
    program = program or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        return [], [f"no browser found ({', '.join(BROWSERS)}), so nothing was checked in one"]
    found: list[str] = []
    names = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.html"))
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with _serve(docs) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        for look in LOOKS:
            context = browser.new_context(color_scheme=look)
            context.route(lambda url: not url.startswith(site), lambda route: route.abort())
            for name in names:
                page = context.new_page()
                found += [f"{name} ({look}): {finding}" for finding in _look(page, site, name, look)]
                for width in WIDTHS if look == "light" else (WIDTHS[0], WIDTHS[-1]):
                    page.set_viewport_size({"width": width, "height": 900})
                    page.wait_for_timeout(50)
                    found += [f"{name} ({look}, {width} wide): {finding}" for finding in _width(page, width == WIDTHS[-1])]
                    if shots and width in (WIDTHS[0], WIDTHS[-1]):
                        shots.mkdir(parents=True, exist_ok=True)
                        page.screenshot(path=shots / f"{Path(name).stem}-{look}-{width}.png", full_page=True)
                page.close()
            if look == "light":
                found += _try(context, site)
            context.close()
        browser.close()
    return found, []


LOOKS = ("light", "dark")  # what the reader's system asks for
WIDTHS = (390, 600, 800, 1024, 1280)


BARE = """[...document.querySelectorAll('.math')]
    .filter(e => !e.querySelector('.katex, mjx-container')).map(e => e.textContent.slice(0, 60))"""
WRONG = """[...document.querySelectorAll('.katex-error, [data-mjx-error]')]
    .map(e => e.title || e.getAttribute('data-mjx-error') || e.textContent.slice(0, 60))"""
WIDE = """[...document.querySelectorAll('main *')].filter(e => {
    if (e.getBoundingClientRect().right <= innerWidth + 1 || !e.checkVisibility()) return false;
    while (e = e.parentElement)  // what scrolls in its own box is fine
        if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX)) return false;
    return true;
}).map(e => `${e.tagName.toLowerCase()}.${e.className} ${e.textContent.trim().slice(0, 30)}`)"""
CUT = """[...document.querySelectorAll('main img, main svg:not(.katex svg)')].filter(e => {
    const right = e.getBoundingClientRect().right;
    if (right > document.querySelector('main').getBoundingClientRect().right + 1) return true;
    while (e = e.parentElement)
        if (getComputedStyle(e).overflowX != 'visible' && right > e.getBoundingClientRect().right + 1) return true;
    return false;
}).map(e => e.getAttribute('src') || 'drawing')"""
SCROLLED = """[...document.querySelectorAll('main .katex-display, main mjx-container[display]')]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""
LIGHT = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) > 384"


def _look(page: Page, site: str, name: str, look: str) -> list[str]:
    """Open a page; what its console and its equations say, and what it asks other hosts for."""
    found: list[str] = []

    def inside(url: str) -> bool:
        return url.startswith(site) or not url.startswith("http")

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and inside(message.location["url"]):
            found.append(f"the console says: {message.text}")

    def ask(request: Request) -> None:
        if not inside(request.url):
            found.append(f"{request.url[:60]} is asked for, on another host")

    page.on("pageerror", lambda e: found.append(f"an error on the page: {e}"))
    page.on("console", hear)
    page.on("request", ask)
    page.goto(urljoin(site, name))
    with suppress(TimeoutError):  # scripts need a moment to typeset
        page.wait_for_function(f"!({BARE}).length", timeout=PATIENCE)
    page.wait_for_timeout(100)
    found += [f"an equation is not typeset: {tex}" for tex in page.evaluate(BARE)]
    found += [f"an equation is wrong: {tex}" for tex in page.evaluate(WRONG)]
    if page.evaluate(LIGHT) != (look == "light"):
        found.append(f"a system that asks for a {look} page gets another")
    return found


def _width(page: Page, widest: bool) -> list[str]:
    """What does not fit on a page as wide as it is now; equations may scroll, but not on the widest."""
    found = [f"wider than the screen: {tag}" for tag in page.evaluate(WIDE)[:3]]
    found += [f"the picture {src[:60]} is cut off" for src in page.evaluate(CUT)]
    found += [f"an equation has to be scrolled: {tex}" for tex in page.evaluate(SCROLLED) if widest]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
        found.append("the page is wider than the screen")
    return found


def _try(context: BrowserContext, site: str) -> list[str]:
    """Search for a name, and switch the theme."""
    found = []
    page = context.new_page()
    page.goto(site)
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.locator(".quarto-color-scheme-toggle:visible").first.click()
    page.wait_for_timeout(500)
    if page.evaluate(colour) == before:
        found.append("the theme toggle changes nothing")
    page.keyboard.press("/")
    with suppress(TimeoutError):
        page.wait_for_function("document.activeElement.matches('input')", timeout=PATIENCE)
    page.keyboard.type("NeuronLayer")
    hit = page.locator(":is(#quarto-search, .aa-Panel, .aa-DetachedContainer) a[href*='#neuronlayer']")
    try:
        hit.first.wait_for(state="visible", timeout=PATIENCE)
    except TimeoutError:
        found.append("the search does not find NeuronLayer")
    page.close()
    return found


@contextmanager
def _serve(docs: Path) -> Iterator[str]:
    """Serve the site under its published path."""
    base = _base(docs)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return super().translate_path(path[len(base) - 1 :]) if path.startswith(base) else "outside the site"

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(docs)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{base}"
    server.shutdown()
    server.server_close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.check_site", description=__doc__.split("\n")[0])
    parser.add_argument("docs", type=Path)
    parser.add_argument("--shots", type=Path, metavar="DIR", help="put a picture of every page there")
    args = parser.parse_args()
    docs = args.docs.resolve()
    found = static(docs)
    seen, left_out = browse(docs, args.shots)
    found += seen
    if os.environ.get("CI"):
        found += left_out
    else:
        print("".join(f"left out: {finding}\n" for finding in left_out), end="")
    print("".join(f"{finding}\n" for finding in found), end="")
    print(f"{len(list(docs.rglob('*.html')))} pages checked, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
