"""What retrieval costs, as tables of ratios; every ratio is taken within one run, from runs that take turns.

python -m scripts.bench [--quick] [--save] [--only evaluations small large latency million peers spreading memory]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hamux import (
    HAM,
    ConvSynapse,
    DenseMemory,
    DenseSynapse,
    Descent,
    Euler,
    HebbianSynapse,
    Lagrangian,
    NeuronLayer,
    SelfAttentionSynapse,
    lagr_identity,
    lagr_layernorm,
    lagr_relu,
    lagr_softmax,
    lagr_tanh,
    retrieve,
    shard,
)
from scripts import trials
from scripts.peers import BETA, DT, STEPS, Programs, measure, sizes, tiling, turns
from scripts.project import BUILD, ROOT

Row = Sequence[str | float]
SAVED = ROOT / "nbs/results/bench.json"


class Table(NamedTuple):
    """What `print` shows as text, with the first column to the left and numbers to the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        cells = [[c if isinstance(c, str) else f"{c:.4g}" for c in row] for row in (self.header, *self.rows)]
        width = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width, strict=True)))
            for row in cells
        ]
        return "\n".join([f"\n{self.title}", lines[0], "-" * len(lines[0]), *map(str.rstrip, lines[1:]), *self.notes])


def medians(runs: dict[str, Callable], times: int) -> dict[str, float]:
    """The median time of each run in seconds."""
    return {name: statistics.median(seconds) for name, seconds in turns(runs, times).items()}


# The five families of models. Models of a family differ in their parameters only.


def normal(key: jax.Array, *shape: int) -> jax.Array:
    return jax.random.normal(key, shape)


def softmax_memory(key):
    keys = jax.random.split(key)
    Xi = normal(keys[0], 50, 32) / 32**0.5
    memory = DenseMemory(Xi, partial(lagr_softmax, beta=6.0))
    ham = HAM({"x": NeuronLayer(lagr_identity, 32)}, {"Xi": memory}, [(("x",), "Xi")])
    return ham, {"x": Xi[0] + 0.2 * normal(keys[1], 32)}


def three_layers(key):
    keys = jax.random.split(key, 3)
    layers = {"a": NeuronLayer(lagr_tanh, 32), "b": NeuronLayer(lagr_tanh, 24)}
    layers["c"] = NeuronLayer(partial(lagr_softmax, beta=2.0), 16)
    synapses = {
        "W": DenseSynapse(1.5 * normal(keys[0], 32, 24) / 32**0.5),
        "V": DenseSynapse(4.0 * normal(keys[1], 24, 16) / 24**0.5),
    }
    ham = HAM(layers, synapses, [(("a", "b"), "W"), (("b", "c"), "V")])
    return ham, ham.init_states(key=keys[2])


def convolutional(key):
    keys = jax.random.split(key, 3)
    layers = {"x": NeuronLayer(lagr_tanh, (8, 8, 2)), "p": NeuronLayer(lagr_tanh, (4, 4, 4))}
    layers["m"] = NeuronLayer(lagr_softmax, 20)
    synapses = {
        "W": ConvSynapse(0.7 * normal(keys[0], 4, 2, 3, 3), 2),
        "V": DenseSynapse(0.3 * normal(keys[1], 64, 20)),
    }
    ham = HAM(layers, synapses, [(("x", "p"), "W"), (("p", "m"), "V")])
    return ham, ham.init_states(key=keys[2])


def attention(key):
    keys = jax.random.split(key, 4)
    synapses = {
        "attention": SelfAttentionSynapse(2, 8, Wq=0.3 * normal(keys[0], 2, 8, 16), Wk=0.3 * normal(keys[1], 2, 8, 16)),
        "memory": DenseMemory(0.15 * normal(keys[2], 24, 16), lagr_relu, axis=-1),
    }
    tokens = NeuronLayer(lagr_layernorm, (10, 16))
    ham = HAM({"x": tokens}, synapses, [(("x",), "attention"), (("x",), "memory")])
    return ham, ham.init_states(key=keys[3])


def classical(key):
    keys = jax.random.split(key)
    Xi = jnp.sign(normal(keys[0], 8, 100))
    layer = NeuronLayer(partial(lagr_tanh, beta=2.0), 100)
    ham = HAM({"x": layer}, {"hebb": HebbianSynapse(Xi)}, [(("x",), "hebb")])
    flip = jax.random.bernoulli(keys[1], 0.15, (100,))
    return ham, {"x": 0.5 * Xi[0] * jnp.where(flip, -1.0, 1.0)}


FAMILIES = [softmax_memory, three_layers, convolutional, attention, classical]
SPLIT = {three_layers: ("b",), convolutional: ("x", "m")}  # layers that can be eliminated


def evaluations(quick: bool) -> list[Table]:
    """Energy gradients until `retrieve` calls it rest: its own solver, and Euler's best step size."""
    tables = []
    for wide in (False,) if quick else (False, True):
        jax.config.update("jax_enable_x64", wide)
        tables += _evaluations(*((2, 4) if quick else (6, 40)))
    jax.config.update("jax_enable_x64", False)
    return tables


def _evaluations(seeds: int, dts: int) -> list[Table]:
    search = jnp.linspace(0.4, 2.4, dts)

    def until(ham, xs, solver, steps):
        end = retrieve(ham, xs, solver=solver, steps=steps)
        return jnp.where(end.converged, end.evaluations.astype(float), jnp.inf), end.energy

    @cache
    def fixed(family):
        """Each model of a family, and what Euler takes for it with each of the step sizes, and with 0.1."""
        sizes = jax.jit(lambda ham, xs: jax.vmap(lambda dt: until(ham, xs, Euler(dt), 500))(search))
        tenth = jax.jit(lambda ham, xs: until(ham, xs, Euler(jnp.asarray(0.1, float)), 5000)[0])
        models = [family(key) for key in jax.random.split(jax.random.key(0), seeds)]
        return [(model, sizes(*model), tenth(*model)) for model in models]

    def count(family, eliminate):
        descent = jax.jit(lambda ham, xs: until(ham, xs, Descent(eliminate=eliminate), 5000))
        for model, (euler, energies), tenth in fixed(family):
            ours, energy = descent(*model)
            near = 1e-4 * (1 + jnp.abs(energy))
            same = jnp.abs(energies - energy) <= near  # the same minimum
            yield ours, euler, tenth, jnp.where(same, euler, jnp.inf).min(), energy <= energies[euler.argmin()] + near

    def rows(families: dict[Callable, tuple[str, ...]]) -> list[Row]:
        found, ratios, of_same, fifths = [], [], [], []
        for family, names in families.items():
            name = family.__name__ + f" without {', '.join(names)}" * bool(names)
            counts = list(count(family, names))
            ours, best, slow, same, low = ([float(c[i].min()) for c in counts] for i in range(5))
            of_best, of_slow, of_nearest = (
                [a / b for a, b in zip(ours, others, strict=True) if np.isfinite(b)] for others in (best, slow, same)
            )
            dt = statistics.median(float(search[c[1].argmin()]) for c in counts)
            middle = [statistics.median(n) for n in (ours, best, [dt], slow)]
            summary = [statistics.median(of_best), max(of_best), max(of_nearest, default="none"), statistics.median(of_slow)]
            found.append([name, *middle, *summary, f"{sum(low):.0f} of {seeds}"])
            ratios, of_same, fifths = ratios + of_best, of_same + of_nearest, fifths + of_slow
            progress(f"evaluations: {name} in {search.dtype}")
        whole = [statistics.median(ratios), max(ratios), max(of_same), statistics.median(fifths)]
        return [*found, ["all", *[""] * 4, *whole, ""]]

    found = rows(dict.fromkeys(FAMILIES, ()))
    found.append(["target, at most", *[""] * 4, 0.5, 1.0, "", 0.2, ""])
    found += rows(SPLIT)
    found.append(["target, at most", *[""] * 4, 0.25, 0.75, "", "", ""])
    header = ["family", "Descent", "best Euler", "its dt", "dt 0.1", "of best", "worst", "worst, same minimum", "of dt 0.1"]
    header.append("as low")
    title = f"Evaluations of dE/dxhat until rest, in {search.dtype} with the default `tol` (medians of {seeds} models)"

    def bounds(family) -> list[list[float]]:
        """For each model, the fewest evaluations where slopes are linear, and those with secants, of the best Euler's."""
        ratios = []
        for (ham, xs), (euler, _), _ in fixed(family):
            if np.isinf(euler.min()):  # none of them arrives
                continue
            end = retrieve(ham, xs, solver=Descent(eliminate=()), steps=5000)
            fewest, best = trials.fewest(ham, xs, end.xs, np.asarray(search))
            ratios.append([fewest / best, trials.secants(ham, xs, pairs=8) / float(euler.min())])
        progress(f"evaluations: what slopes allow for {family.__name__} in {search.dtype}")
        return ratios

    def spans(name: str, ratios: list[list[float]]) -> Row:
        return [name, *(f(column) for column in zip(*ratios, strict=True) for f in (statistics.median, max))]

    allowed = {family.__name__: bounds(family) for family in FAMILIES}
    limits = [spans(name, ratios) for name, ratios in allowed.items()]
    limits.append(spans("all", [row for ratios in allowed.values() for row in ratios]))
    other = f"What slopes allow, and what eight secants reach, in evaluations of the best Euler's, in {search.dtype}"
    columns = ["family", "fewest, slopes linear", "worst of these", "secants", "worst of secants"]
    return [Table(title, header, found), Table(other, columns, limits)]


def memory_model(D: int, K: int) -> tuple[HAM, jax.Array]:
    """A softmax memory of `K` memories in `D` dimensions."""
    Xi = normal(jax.random.key(0), K, D) / D**0.5
    memory = DenseMemory(Xi, partial(lagr_softmax, beta=4.0))
    return HAM({"x": NeuronLayer(lagr_identity, D)}, {"Xi": memory}, [(("x",), "Xi")]), Xi


@partial(jax.jit, static_argnames="steps")
def by_hand(Xi: jax.Array, x: jax.Array, dt: jax.Array, steps: int) -> jax.Array:
    """What Euler's steps are for this memory, as one would write them without hamux."""

    def update(x, _):
        return x + dt * (jax.nn.softmax(4.0 * (x @ Xi.T)) @ Xi - x), None

    return lax.scan(update, x, length=steps)[0]


def small(quick: bool) -> list[Table]:
    """A small memory against a loop written by hand, both of which take the same Euler steps."""
    steps, times = (20, 3) if quick else (200, 60)
    rows = []
    for D, K in ((64, 100),) if quick else ((64, 100), (256, 500)):
        ham, Xi = memory_model(D, K)
        x = Xi[0] + 0.2 * normal(jax.random.key(1), D)
        dt = jnp.asarray(0.1, float)

        @jax.jit
        def by_retrieve(ham, x, dt):
            return retrieve(ham, {"x": x}, solver=Euler(dt), steps=steps, tol=0.0).xs["x"]

        assert jnp.allclose(by_hand(Xi, x, dt, steps), by_retrieve(ham, x, dt), atol=1e-5)
        runs = {
            "hand": partial(by_hand, Xi, x, dt, steps),
            "retrieve": partial(by_retrieve, ham, x, dt),
            "plain": lambda: retrieve(ham, {"x": x}, solver=Euler(dt), steps=steps, tol=0.0).xs["x"],
        }
        t = medians(runs, times)
        ratios = [t[name] / t["hand"] for name in ("retrieve", "plain")]
        rows.append([f"{K} memories of {D}", *(1e3 * t[name] for name in runs), *ratios])
        progress(f"small: {K} memories of {D}")
    rows.append(["target, below", "", "", "", 1.3, 1.5])
    header = ["model", "by hand, ms", "retrieve, ms", "outside jit, ms", "ratio", "outside jit"]
    return [Table(f"{steps} Euler steps of one sample, against a hand-written lax.scan", header, rows)]


def large(quick: bool) -> list[Table]:
    """A batch in a large memory, against the two matrix products of a step."""
    D, K, batch, steps, times = (64, 256, 16, 3, 2) if quick else (784, 4096, 256, 20, 5)
    ham, Xi = memory_model(D, K)
    x = normal(jax.random.key(1), batch, D) / D**0.5

    @jax.jit
    def products(Xi, x):
        return lax.scan(lambda x, _: ((x @ Xi.T) @ Xi, None), x, length=steps)[0]

    @jax.jit
    def recall(ham, x, solver):
        return retrieve(ham.vectorize(), {"x": x}, solver=solver, steps=steps, tol=0.0)

    dt = jnp.asarray(0.1, float)
    runs = {
        "products": partial(products, Xi, x),
        "hand": partial(by_hand, Xi, x, dt, steps),
        "Euler": partial(recall, ham, x, Euler(dt)),
        "Descent": partial(recall, ham, x, None),
    }
    t = medians(runs, times)
    names = ["two matrix products", "step by hand", "retrieve, Euler", "retrieve, Descent"]
    slowest = int(recall(ham, x, None).evaluations.max())  # the others wait for it
    counts = [steps, steps, steps + 1, slowest]  # retrieve also looks at where it starts
    per_step = [t / n for t, n in zip(t.values(), counts, strict=True)]
    rows: list[Row] = [[name, 1e3 * t, t / per_step[0]] for name, t in zip(names, per_step, strict=True)]
    rows.append(["target, below", "", 1.1])
    progress(f"large: {K} memories of {D}, batch {batch}")
    title = f"{K} memories of {D}, batch {batch}: one evaluation, against its two matrix products"
    return [Table(title, ["one of", "ms", "ratio"], rows)]


def chain(n: int) -> tuple[HAM, dict[str, jax.Array]]:
    """`n` layers, each of which is joined to the next, and states to start from."""
    layers = {f"x{i}": NeuronLayer(lagr_tanh, 16) for i in range(n)}
    synapses = {f"W{i}": DenseSynapse() for i in range(n - 1)}
    ham = HAM(layers, synapses, [((f"x{i}", f"x{i + 1}"), f"W{i}") for i in range(n - 1)])
    ready = ham.init_params(jax.random.key(0))
    return ready, ready.init_states(key=jax.random.key(1))


def latency(quick: bool) -> list[Table]:
    """What the first result takes: tracing and compiling, each time from scratch."""
    hidden = HAM(
        {"x": NeuronLayer(lagr_identity, 64), "h": NeuronLayer(partial(lagr_softmax, beta=40.0), 100)},
        {"Xi": DenseSynapse(normal(jax.random.key(0), 64, 100) / 8)},
        [(("x", "h"), "Xi")],
    ).vectorize()
    models = {"100 memories of 64, batch 16": (hidden, hidden.init_states(16, key=jax.random.key(1)))}
    models |= {f"chain of {n} tanh layers": chain(n) for n in ((2,) if quick else (2, 8, 32, 64))}
    rows = []
    for name, (ham, xs) in models.items():
        runs = {
            "dEdg": lambda ham, xs: jax.jit(lambda ham, xs: ham.dEdact(ham.activations(xs), xs))(ham, xs),
            "Euler": lambda ham, xs: retrieve(ham, xs, solver=Euler(0.1)).energy,
            "Descent": lambda ham, xs: retrieve(ham, xs).energy,
        }
        taken: dict[str, list[float]] = {run: [] for run in runs}
        for _ in range(1 if quick else 3):
            for run, first in runs.items():
                jax.clear_caches()
                start = time.perf_counter()
                jax.block_until_ready(first(ham, xs))
                taken[run].append(time.perf_counter() - start)
        jax.clear_caches()
        start = time.perf_counter()
        lowered = jax.jit(runs["Descent"]).lower(ham, xs)
        traced = time.perf_counter()
        lowered.compile()
        end = time.perf_counter()
        t = {run: statistics.median(seconds) for run, seconds in taken.items()}
        ratios = t["Euler"] / t["dEdg"], t["Descent"] / t["dEdg"], (end - traced) / (end - start)
        rows.append([name, *t.values(), *ratios])
        progress(f"latency: {name}")
    rows.append(["target, at most", "", "", "", "", 4.0, ""])
    header = ["model", "dEdg, s", "Euler, s", "Descent, s", "Euler / dEdg", "Descent / dEdg", "XLA's share"]
    return [Table("The first result: tracing, compiling and running once", header, rows)]


def memory(quick: bool) -> list[Table]:
    """Memory for intermediate values of a compiled gradient."""
    ham, Xi = memory_model(64, 100)
    x = {"x": Xi[0] + 0.2}
    rows = []
    for steps in (16, 256) if quick else (16, 256, 4096):
        row: list[str | float] = [str(steps)]
        for gradient in ("implicit", "unrolled"):

            def loss(ham, x, gradient=gradient, steps=steps):
                return jnp.sum(retrieve(ham, x, steps=steps, gradient=gradient).xs["x"] ** 2)

            compiled = jax.jit(jax.grad(loss)).lower(ham, x).compile()
            row.append(compiled.memory_analysis().temp_size_in_bytes / 1024)
        rows.append(row)
        progress(f"memory: {steps} steps")
    return [Table("Memory of a gradient through retrieval, in KiB", ["steps", "implicit", "unrolled"], rows)]


def million(quick: bool) -> list[Table]:
    """Energy and slope of a batch in a million memories, against the best tiling of its two products."""
    K, D, batch, times = (131_072, 64, 16, 2) if quick else (1_048_576, 64, 256, 7)
    Xi, x = normal(jax.random.key(0), K, D) / D**0.5, normal(jax.random.key(1), batch, D)
    hidden = Lagrangian(lagr_softmax, beta=jnp.asarray(4.0))
    softmax, relu = DenseMemory(Xi, hidden), DenseMemory(Xi, lagr_relu)

    def slope(energy, memory, x):
        return jax.value_and_grad(lambda x: jnp.sum(jax.vmap(partial(energy, memory))(x)))(x)

    def formula(memory, x):
        return -memory.lagrangian(memory.Xi @ x)

    def attention(memory, x):  # the slope only
        one = lambda a: a[None, :, None]
        return jax.nn.dot_product_attention(one(x), one(memory.Xi), one(memory.Xi), scale=4.0)

    def training(memory, x):
        return jax.grad(lambda memory: jnp.sum(jax.vmap(memory)(x)))(memory)

    def curvature(memory, x):
        by_x = lambda x: slope(lambda memory, x: memory(x), memory, x)[1]
        return jax.jvp(by_x, (x,), (x,))[1]

    programs: dict[str, tuple[Callable, tuple]] = {
        **{f"two products, {size} at a time": (partial(tiling, size), (Xi, x)) for size in (1024, 2048, 4096, 8192)},
        "two products": (lambda Xi, x: (x @ Xi.T) @ Xi, (Xi, x)),
        "DenseMemory, softmax": (partial(slope, lambda memory, x: memory(x)), (softmax, x)),
        "DenseMemory, relu": (partial(slope, lambda memory, x: memory(x)), (relu, x)),
        "top 10": (lambda memory, x: jax.vmap(lambda x: memory.top(x, 10))(x), (softmax, x)),
        "curvature times a vector": (curvature, (softmax, x)),
        "by the memories": (training, (softmax, x)),
        "autodiff of the formula": (partial(slope, formula), (softmax, x)),
        "dot_product_attention": (attention, (softmax, x)),
    }
    runs, temporary = {}, {}
    for name, (f, args) in programs.items():
        compiled = jax.jit(f).lower(*args).compile()
        runs[name] = partial(compiled, *args)
        temporary[name] = compiled.memory_analysis().temp_size_in_bytes / 2**20
        progress(f"million: {name}")
    taken = turns(runs, times)
    tiles = [name for name in programs if "at a time" in name]
    best = min(tiles, key=lambda name: statistics.median(taken[name]))
    rows: list[Row] = []
    for name, seconds in taken.items():
        ratios = sorted(ours / limit for ours, limit in zip(seconds, taken[best], strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        median = statistics.median(seconds)
        rate = 4e-9 * batch * K * D / median
        rows.append([name, 1e3 * median, statistics.median(ratios), spread, rate, temporary[name]])
    rows.append(["target of the memory, at most", "", 1 / 0.7, "", "", 64])
    header = ["energy and slope by", "ms", "of the best tiling", "lowest and highest", "GFLOP/s of a step", "MB"]
    return [Table(f"{K} memories of {D}, batch {batch}, float32, and what memory it takes", header, rows)]


PEERS = {
    "hamux": ["hamux==0.2.2", "fastcore==1.14.5"],  # which it needs, and does not say so
    "torch": ["torch==2.13.0"],
}


class PeerError(Exception):
    """Why other programs are left out."""


def attempt(*command: str | Path) -> str:
    """What a program prints; raises with its last line if it fails."""
    try:
        done = subprocess.run(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    except OSError as e:
        raise PeerError(str(e)) from None
    if done.returncode:
        raise PeerError([f"exit status {done.returncode}", *(done.stdout + done.stderr).strip().splitlines()][-1])
    return done.stdout


def environment(name: str) -> Path:
    """The Python that has other programs, with our JAX, in an environment that is made unless it is there."""
    wanted = [*PEERS[name], f"jax=={jax.__version__}"]
    folder = BUILD / "peers" / name
    python, ready = folder / "bin/python", folder / "ready"
    if not (ready.exists() and ready.read_text() == " ".join(wanted)):
        progress(f"peers: installing {' '.join(wanted)}")
        shutil.rmtree(folder, ignore_errors=True)
        attempt(sys.executable, "-m", "venv", folder)
        attempt(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        ready.write_text(" ".join(wanted))
    return python


def ours(Xi: np.ndarray, x: np.ndarray, whole: bool) -> Programs:
    """hamux, and what JAX alone has."""
    memory = DenseMemory(Xi, partial(lagr_softmax, beta=BETA))
    ham = HAM({"x": NeuronLayer(lagr_identity, Xi.shape[1])}, {"Xi": memory}, [(("x",), "Xi")]).vectorize()

    def step(ham, x):
        energy, slope = ham.dEdact(ham.activations({"x": x}), {"x": x}, return_energy=True)
        return {"x": x - slope["x"], "energy": energy}

    def formula(Xi, x):
        energy = lambda x: jnp.sum(x * x) / 2 - jax.nn.logsumexp(BETA * (Xi @ x)) / BETA
        energies, slope = jax.vmap(jax.value_and_grad(energy))(x)
        return {"x": x - slope, "energy": energies}

    def attention(Xi, x):
        one = lambda a: a[None, :, None]
        return {"x": jax.nn.dot_product_attention(one(x), one(Xi), one(Xi), scale=BETA)[0, :, 0]}

    def loop(step, Xi, x):
        def update(x, _):
            new = step(Xi, x)
            return x + DT * (new.pop("x") - x), new

        x, new = lax.scan(update, x, length=STEPS)
        return {"x": x, "steps": STEPS} | jax.tree.map(lambda a: a[-1], new)

    def recall(solver, ham, x):
        exact = {"steps": STEPS, "tol": 0.0} if isinstance(solver, Euler) else {}
        end = retrieve(ham, {"x": x}, solver=solver, **exact)
        return {"x": end.xs["x"], "energy": end.energy, "rest": end.converged, "steps": end.evaluations}

    Xi, x = jnp.asarray(Xi), jnp.asarray(x)
    alone = {"autodiff of the formula": formula, "dot_product_attention": attention}
    if not whole:
        return {"hamux": (jax.jit(step), ham, x)} | {name: (jax.jit(f), Xi, x) for name, f in alone.items()}
    solvers = {"hamux, Descent": partial(recall, Descent()), "hamux, Euler": partial(recall, Euler(DT))}
    programs: Programs = {name: (f, ham, x) for name, f in solvers.items()}
    programs |= {f"{name}, in jit": (jax.jit(f), ham, x) for name, f in solvers.items()}
    return programs | {f"{name}, lax.scan": (jax.jit(partial(loop, f)), Xi, x) for name, f in alone.items()}


def peers(quick: bool) -> list[Table]:
    """A step and a whole retrieval, by hamux and by other programs, against the matrix products that they take."""
    progress("peers: hamux and JAX alone")
    with jax.default_device(jax.devices("cpu")[0]):
        found = [measure(ours, quick, whole) for whole in (False, True)]
    left_out = []
    for name, (package, *_) in PEERS.items():
        try:
            python = environment(name)
            progress(f"peers: {package}")
            more = json.loads(attempt(python, "-P", ROOT / "scripts/peers.py", name, *["--quick"] * quick))
            found = [mine | theirs for mine, theirs in zip(found, more, strict=True)]
        except PeerError as e:
            left_out.append(f"{package} left out: {e}")
    if "hopfield-layers" not in found[0]:
        left_out.append("hopfield-layers left out: on no package index; with PYTHONPATH=CHECKOUT it takes part")
    return [compared(found[0], quick, False), compared(found[1], quick, True, left_out)]


def compared(found: dict[str, dict], quick: bool, whole: bool, notes: Sequence[str] = ()) -> Table:
    """A table of what `measure` has found. All must have given the right states."""
    rows: list[Row] = []
    for name, one in found.items():
        assert one["off"] < 5e-4 or name.endswith("README"), f"{name} gives other states, off by {one['off']:.1e}"
        low, *_, high = ratios = one["ratios"]
        row = [name, 1e3 * one["seconds"], statistics.median(ratios), f"{low:.2f} to {high:.2f}", f"{one['off']:.0e}"]
        knows = ["yes" if key in one["gives"] else "no" for key in ("energy", "rest")]
        rows.append(row + ([*knows, str(one["steps"] or ""), one["first"]] if whole else [knows[0], one.get("MB", "")]))
    header = ["by", "ms", "of the products", "lowest and highest", "off by", "energy"]
    header += ["rest", "steps", "first call, s"] if whole else ["MB"]
    (K, batch, _), title = sizes(quick, whole), "One step"
    if whole:
        title = f"A retrieval, {STEPS} steps of {DT} or to rest, against the products of so many"
    return Table(f"{title}: {K} memories of 64, batch {batch}, on the processor", header, rows, notes)


def spreading(quick: bool) -> list[Table]:
    """A step with a memory that is spread over devices of one processor, which saves no work, against the same memory."""
    K, batch, turns = (16_384, 16, 2) if quick else (262_144, 256, 20)
    progress(f"spreading: {K} memories of 64, batch {batch}")
    code = f"import json; from scripts import bench; print(json.dumps(bench.shares({K}, {batch}, {turns})))"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[Row] = []
    for n, shares in json.loads(done.stdout).items():
        low, middle, high = statistics.quantiles(shares, n=4)
        rows.append([n, middle, low, high])
    rows.append(["target, at least", 0.9, "", ""])
    title = f"{K} memories of 64, batch {batch}: processor time of a step, over that of the memory spread over devices"
    return [Table(title, ["devices", "efficiency", "a quarter below", "above"], rows)]


def shares(K: int, batch: int, turns: int) -> dict[int, list[float]]:
    """For each number of devices, of which this process has eight, the efficiency in each turn."""
    memory, x = memory_model(64, K)[0].hypersynapses["Xi"], normal(jax.random.key(1), batch, 64)
    slope = jax.jit(lambda memory, x: jax.vmap(jax.value_and_grad(memory))(x))
    devices = jax.devices()
    spread = {n: shard(memory, jax.sharding.Mesh(np.array(devices[:n]), ("memories",))) for n in (1, 2, 8)}
    found: dict[int, list[float]] = {n: [] for n in spread}
    for turn in range(turns + 1):
        times = {}
        for n, model in ({0: memory} | spread).items():
            start = time.process_time()
            jax.block_until_ready(slope(model, x))
            times[n] = time.process_time() - start
        for n in spread if turn else ():  # the first one compiles
            found[n].append(times[0] / times[n])
    return found


BENCHMARKS = {f.__name__: f for f in (evaluations, small, large, latency, million, peers, spreading, memory)}


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def save(name: str, tables: Sequence[Table], device: str) -> None:
    """Put the tables of one benchmark into the file that the page shows."""
    known = json.loads(SAVED.read_text()) if SAVED.exists() else {}
    known[name] = {"device": device, "tables": [table._asdict() for table in tables]}
    SAVED.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def processor() -> str:
    """What this machine computes with."""
    device, info = jax.devices()[0], Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.exists() else []
    kind = models[0] if device.platform == "cpu" and models else device.device_kind
    return f"JAX {jax.__version__} on {device.platform} ({kind}, {os.cpu_count()} cores)"


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description="What retrieval costs.")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--save", action="store_true", help=f"the tables into {SAVED.relative_to(ROOT)}")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    chosen = parser.parse_args(args)
    device = processor()
    print(device)
    for name in chosen.only:
        tables = BENCHMARKS[name](chosen.quick)
        print(*tables, sep="\n", flush=True)
        if chosen.save:
            save(name, tables, device)


if __name__ == "__main__":
    main()
