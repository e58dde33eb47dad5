"""Makes `README.md` and its pictures out of the executed `index.qmd`."""

import re
from pathlib import Path

import nbformat
import yaml

from scripts import refs
from scripts.project import BUILD, ROOT, BuildError, run, write

INDEX = Path("nbs/index.qmd")
# nbdev's own processing for readers: hidden cells go, names in backticks become links.
PROCESS = "from sys import argv; from pathlib import Path; from nbdev.processors import FilterDefaults; "
PROCESS += "from nbdev.serve_drv import main; main((Path(argv[1]), Path(argv[2]), FilterDefaults))"


def make() -> dict[str, bytes]:
    """`README.md` and the pictures it shows, by their path from the root."""
    processed = BUILD / "readme" / "index.ipynb"
    processed.parent.mkdir(exist_ok=True)
    done = run("python", "-c", PROCESS, BUILD / INDEX.with_suffix(".ipynb"), processed, cwd=BUILD / "nbs")
    if done.returncode:
        raise BuildError(f"{INDEX}: nbdev could not process it\n{done.stderr}")
    pictures = processed.parent / "figures"
    nb = refs.resolve(nbformat.read(processed, as_version=4), str(INDEX), ROOT / "nbs/references.bib", pictures)
    text, more = markdown(nbformat.from_dict(nb))
    files = {f"figures/{p.name}": p.read_bytes() for p in pictures.glob("*")} | more
    return {"README.md": text.encode()} | {k: v for k, v in sorted(files.items()) if k in text}


def markdown(nb: nbformat.NotebookNode) -> tuple[str, dict[str, bytes]]:
    """`nb` in GitHub's Markdown, and its pictures."""
    from nbconvert import MarkdownExporter  # slow to import, and seldom needed
    from traitlets.config import Config

    if nb.cells and nb.cells[0].cell_type == "raw":  # nbdev has made the title into front matter
        matter = yaml.safe_load(nb.cells[0].source.strip().strip("-"))
        nb.cells[0] = nbformat.v4.new_markdown_cell(
            f"# {matter['title']}\n\n> {matter.get('description', '')}".rstrip("\n >")
        )
    for cell in nb.cells:
        if cell.cell_type == "code":
            hidden = re.search(r"^#\|\s*(echo|include):\s*false\s*$", cell.source, re.M)
            cell.metadata["tags"] = ["remove_input"] * bool(hidden)
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
            for out in cell.outputs:  # a picture says it; its `<Figure size ...>` does not
                if any(k.startswith("image/") for k in out.get("data", {})):
                    out.data.pop("text/plain", None)
    options = Config({"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"remove_input"}}})
    resources = {"output_files_dir": "figures", "unique_key": "readme"}
    text, resources = MarkdownExporter(config=options).from_notebook_node(nb, resources)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", resources["outputs"]


def stale(fresh: dict[str, bytes]) -> list[str]:
    """What of the committed README differs. Pictures need only be there: their bytes change with the machine."""
    kept = {name: ROOT / name for name in fresh}
    return [
        name
        for name, file in kept.items()
        if not file.exists() or (name == "README.md" and file.read_bytes() != fresh[name])
    ]


def bring_back(fresh: dict[str, bytes]) -> None:
    if stale(fresh):
        for name, data in fresh.items():
            write(ROOT / name, data)
            print(f"wrote {name}")
