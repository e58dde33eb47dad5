"""Other programs with the same softmax memory, in turns with the matrix products that it takes: see `bench.peers`.

python -P scripts/peers.py hamux|torch [--quick]    # in an environment of its own, where `hamux` is the older one
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

D, BETA, STEPS, DT = 64, 16.0, 40, 0.5  # of hamux 0.2.2, the README takes such steps
Programs = dict[str, tuple]  # a function and its arguments; it gives the states "x", and what else it knows


def turns(runs: dict[str, Callable], times: int, before: int = 0) -> dict[str, list[float]]:
    """The times of each run in seconds. They take turns, with so many runs `before` each; the first turn compiles."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(times + 1):
        for name, run in runs.items():
            for _ in range(before):
                jax.block_until_ready(run())
            start = time.perf_counter()
            jax.block_until_ready(run())
            if i:
                taken[name].append(time.perf_counter() - start)
    return taken


def tiling(size: int, Xi: jax.Array, x: jax.Array) -> jax.Array:
    """The two matrix products of a step, with `size` memories at a time."""

    def add(out, i):
        part = lax.dynamic_slice_in_dim(Xi, i * size, size)
        return out + (x @ part.T) @ part, None

    return lax.scan(add, jnp.zeros_like(x), jnp.arange(Xi.shape[0] // size))[0]


def exact(Xi: np.ndarray, x: np.ndarray, updates: int) -> np.ndarray:
    """The states after so many updates, in float64."""
    for _ in range(updates):
        weights = np.exp(BETA * x.astype(float) @ Xi.T)  # of patterns of length one, so it is no large number
        x = weights @ Xi / weights.sum(-1, keepdims=True)
    return x


def sizes(quick: bool, whole: bool) -> tuple[int, int, int]:
    """How many memories, states and turns."""
    return (100, 16, 2 if quick else 11) if whole else (4096, 16, 2) if quick else (65_536, 256, 7)


def measure(programs: Callable[..., Programs], quick: bool, whole: bool) -> dict[str, dict]:
    """What each of the `programs` for these memories and states takes, and what it gives."""
    (K, batch, times), rng, found = sizes(quick, whole), np.random.default_rng(0), {}
    Xi, noise = (rng.normal(size=(n, D)).astype(np.float32) / np.float32(D**0.5) for n in (K, batch))
    x = Xi[:batch] + noise / 2
    repeated = lambda Xi, x: lax.scan(lambda x, _: ((x @ Xi.T) @ Xi, None), x, length=STEPS)[0]
    tilings = [repeated] if whole else [partial(tiling, n) for n in (1024, 2048, 4096, 8192, K) if n <= K]
    products = {str(i): partial(jax.jit(f), Xi, x) for i, f in enumerate(tilings)}
    others, right = programs(Xi, x, whole), exact(Xi, x, 100 if whole else 1)
    for name, (f, *args) in others.items():
        jax.clear_caches()
        start = time.perf_counter()
        given = jax.block_until_ready(f(*args))
        found[name] = {"first": time.perf_counter() - start, "gives": list(given)}
        found[name]["off"] = float(np.max(np.abs(np.asarray(given["x"]) - right)))
        found[name]["steps"] = int(np.max(given.get("steps", 0)))  # those of the slowest state
        if not whole and hasattr(f, "lower"):
            of = getattr(compiled := f.lower(*args).compile(), "compiled", compiled)  # Equinox holds it in there
            found[name]["MB"] = of.memory_analysis().temp_size_in_bytes / 2**20
    taken = turns(products | {name: partial(*program) for name, program in others.items()}, times, before=1)
    best = min(products, key=lambda name: statistics.median(taken[name]))
    for name in others:
        ratios = sorted(ours / limit for ours, limit in zip(taken[name], taken[best], strict=True))
        found[name] |= {"seconds": statistics.median(taken[name]), "ratios": ratios}
    return found


def older(Xi: np.ndarray, x: np.ndarray, whole: bool) -> Programs:
    """hamux 0.2.2 as its README and its demo use it, with a memory as one writes it there."""
    import equinox as eqx

    import hamux

    assert hamux.__version__ == "0.2.2", f"this is hamux {hamux.__version__}"

    class Memory(eqx.Module):
        Xi: jax.Array

        def __call__(self, xhat):
            return -hamux.lagr_softmax(self.Xi @ xhat, beta=BETA)

    def loop(steps, dt, anew, ham, x):  # the README takes the activations once, and the demo anew in each step
        xs, xhats, energy = {"x": x}, ham.activations({"x": x}), None
        for _ in range(steps):
            xhats = ham.activations(xs) if anew else xhats
            energy, slope = ham.dEdact(xhats, xs, return_energy=True)
            xs = jax.tree.map(lambda x, slope: x - dt * slope, xs, slope)
        return {"x": xs["x"], "energy": energy, "steps": steps}

    readme, demo = partial(loop, STEPS, DT, False), partial(loop, STEPS, DT, True)
    runs = {"as in its README": readme, "as in its demo": demo, "as in its demo, in filter_jit": eqx.filter_jit(demo)}
    runs = runs if whole else {"in filter_jit": eqx.filter_jit(partial(loop, 1, 1.0, True))}
    layer, memory = hamux.NeuronLayer(hamux.lagr_identity, (D,)), Memory(jnp.asarray(Xi))
    ham = hamux.HAM({"x": layer}, {"Xi": memory}, [(("x",), "Xi")]).vectorize()
    return {f"hamux 0.2.2, {name}": (f, ham, jnp.asarray(x)) for name, f in runs.items()}


def of_torch(Xi: np.ndarray, x: np.ndarray, whole: bool) -> Programs:
    """The formula in PyTorch; and hopfield-layers, which is on no package index, if it can be imported."""
    import torch

    memories, states = torch.from_numpy(Xi), torch.from_numpy(x)
    if whole:  # so small that a second thread gains nothing, and on a busy machine the first would wait for it
        torch.set_num_threads(1)

    def step():
        q, kv = states[None, None], memories[None, None]
        return {"x": torch.nn.functional.scaled_dot_product_attention(q, kv, kv, scale=BETA)[0, 0]}

    def loop():  # until the weights of the memories stay as they are, which is the rule of hopfield-layers
        weights = [torch.softmax(BETA * states @ memories.T, -1)]
        while len(weights) < 2 or (weights[-1] - weights[-2]).norm() > 1e-4:
            weights.append(torch.softmax(BETA * (weights[-1] @ memories) @ memories.T, -1))
        return {"x": weights[-1] @ memories, "steps": len(weights)}

    name, f = ("formula in a loop", loop) if whole else ("scaled_dot_product_attention", step)
    programs: Programs = {f"torch {torch.__version__}, {name}": (f,)}
    try:
        from hflayers import Hopfield
    except ImportError:
        return programs
    names = "stored_pattern", "state_pattern", "pattern_projection"
    plain = {f"{name}_as_static": True for name in names}  # without weights, and below without norms
    plain |= {f"normalize_{name}{affine}": False for name in names for affine in ("", "_affine")}
    net = Hopfield(scaling=BETA, update_steps_max=None if whole else 0, disable_out_projection=True, **plain)
    return programs | {"hopfield-layers": (lambda: {"x": net((memories[None], states[None], memories[None]))[0]},)}


if __name__ == "__main__":
    other = {"hamux": older, "torch": of_torch}[sys.argv[1]]
    print(json.dumps([measure(other, "--quick" in sys.argv, whole) for whole in (False, True)]))
