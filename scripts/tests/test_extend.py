"""CONTRIBUTING shows how hamux is extended. Here its own examples are added to a copy of hamux, and used."""

import re
import shutil
import subprocess
import sys

import pytest

from scripts.project import ENV, ROOT

EXAMPLE = re.compile(r"^\*\*(.+?)\*\*: .*?`(nbs/\w+\.qmd)`.*?^````markdown\n(.*?)^````$", re.M | re.S)
USE = {
    "A hypersynapse": """
        layers = {name: hmx.IdentityLayer(2) for name in "abc"}
        ham = hmx.HAM(layers, {"three": hmx.TripleSynapse([1.0, 2.0])}, [(("a", "b", "c"), "three")])
        xhats = dict.fromkeys("abc", jnp.array([1.0, 2.0]))
        assert ham.connection_energies(xhats) == [-(1 + 2 * 8)]
        assert (jax.grad(lambda ham: ham.energy(xhats))(ham).hypersynapses["three"].w == jnp.array([-1.0, -8.0])).all()
    """,
    "A Lagrangian": """
        layer = hmx.NeuronLayer(hmx.lagr_cosh, 3)
        x = jnp.array([-1.0, 0.0, 2.0])
        assert jnp.allclose(layer.activations(x), jnp.sinh(x))
    """,
    "A solver": """
        ham = hmx.HAM([hmx.IdentityLayer(2)], [hmx.BiasSynapse([1.0, 2.0])], [((0,), 0)])
        end = hmx.retrieve(ham, [jnp.array([9.0, -9.0])], solver=hmx.Halving(), tol=1e-2, trace=True)
        assert end.converged and (jnp.diff(end.trace.energies) <= 0).all() and end.steps > 5
    """,
    "A page": """
        ham = {"hmx": hmx}
        exec(open("page").read(), ham)
        assert ham["ham"].energy([jnp.ones(1)] * 2) < ham["ham"].energy([jnp.ones(1), -jnp.ones(1)])
    """,
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """hamux with all of the examples, exported."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("nbs", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for name in ("settings.ini", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root)
    for what, page, text in EXAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text()):
        assert (root / page).exists() == (what != "A page")
        with (root / page).open("a") as file:
            file.write("\n" * (what != "A page") + text)
        if what == "A page":
            (root / "page").write_text("\n".join(re.findall(r"```{python}\n(.*?)```", text, re.S)))
    env = {name: value for name, value in ENV.items() if name not in ("HAMUX_BUILD", "PYTHONPATH")}
    subprocess.run([sys.executable, "-m", "scripts.build", "export"], cwd=root, env=env, check=True)
    return root


@pytest.mark.parametrize("what, use", USE.items(), ids=USE)
def test_what_contributing_shows_works(copy, what, use):
    assert [o[0] for o in EXAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text())] == list(USE)
    code = "import jax, jax.numpy as jnp\nimport hamux as hmx\n" + re.sub("^        ", "", use, flags=re.M)
    env = ENV | {"PYTHONPATH": str(copy / "_build")}
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
