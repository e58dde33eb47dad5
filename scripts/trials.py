"""Two yardsticks for `Descent`, in NumPy: the fewest evaluations that slopes allow, and steps by secants."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hamux import HAM


class Landscape(NamedTuple):
    """A model as a function of one vector of states."""

    start: np.ndarray
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]  # energy, slope, activations
    rests: Callable[[np.ndarray, np.ndarray], bool]  # as in `retrieve`, from states and slopes
    eps: float

    @classmethod
    def of(cls, ham: HAM, xs: dict[str, jax.Array]) -> "Landscape":
        start, unravel = ravel_pytree(xs)
        eps = float(jnp.finfo(start.dtype).eps)
        cuts = np.cumsum([x.size for x in jax.tree.leaves(xs)])[:-1]

        @jax.jit
        def both(x):
            xs = unravel(x)
            xhats = ham.activations(xs)
            energy, slopes = ham.dEdact(xhats, xs, return_energy=True)
            return energy, ravel_pytree(slopes)[0], ravel_pytree(xhats)[0]

        def evaluate(x):
            energy, *vectors = both(x.astype(start.dtype))
            return float(energy), *(np.asarray(a, float) for a in vectors)

        def rests(x, g):
            parts = zip(np.split(x, cuts), np.split(g, cuts), strict=True)
            return all(np.mean(g**2) <= eps ** (4 / 3) * (1 + np.mean(x**2)) for x, g in parts)

        return cls(np.asarray(start, float), evaluate, rests, eps)


def fewest(ham: HAM, xs: dict[str, jax.Array], end: dict[str, jax.Array], dts: np.ndarray) -> tuple[float, float]:
    """Evaluations to rest where slopes are linear, as they are at `end`: of the best combination of all slopes seen so
    far (GMRES, which no method that sees one slope an evaluation can beat), and of the best of the steps `dts`."""
    start, eps, at = Landscape.of(ham, xs).start, float(jnp.finfo(jnp.result_type(float)).eps), ravel_pytree(end)
    slope = lambda x: ravel_pytree(ham.dEdact(ham.activations(at[1](x)), at[1](x)))[0]
    J, x = np.asarray(jax.jacfwd(slope)(at[0]), float), np.asarray(at[0], float)
    enough = eps ** (2 / 3) * np.sqrt(len(x) + x @ x)

    def fixed(dt):
        g = J @ (start - x)
        for n in range(1, 1000):
            if np.linalg.norm(g) <= enough:
                return n
            g = g - dt * (J @ g)
            if not np.linalg.norm(g) < 1e9:
                break
        return np.inf

    g = J @ (start - x)
    basis, images, rest = [g / np.linalg.norm(g)], [], g
    while np.linalg.norm(rest) > enough and len(images) < len(x):
        new = J @ basis[-1]
        images.append(new)
        A = np.stack(images, 1)
        rest = g - A @ np.linalg.lstsq(A, g, rcond=None)[0]
        for _ in range(2):  # twice is enough
            new = new - np.stack(basis, 1) @ (np.stack(basis) @ new)
        basis.append(new / np.linalg.norm(new))
    return len(images) + 1, min(map(fixed, dts))


def secants(ham: HAM, xs: dict[str, jax.Array], pairs: int) -> float:
    """Evaluations to rest of L-BFGS with so many `pairs` of changes of states and of slopes.

    As in `Descent` no step raises the energy, and rounding is left to the slopes; a refused step forgets the pairs.
    """
    x, evaluate, rests, eps = Landscape.of(ham, xs)
    E, g, xhat = evaluate(x)
    evaluations, dt, known = 1, 1.0, []
    while not rests(x, g) and evaluations < 5000:
        way, shares = g, []
        for dx, dg in reversed(known):
            shares.append(dx @ way / (dx @ dg))
            way = way - shares[-1] * dg
        way = dt * way
        for (dx, dg), share in zip(known, reversed(shares), strict=True):
            way = way + (share - dg @ way / (dx @ dg)) * dx
        for _ in range(30):
            y = x - way
            E2, g2, xhat2 = evaluate(y)
            evaluations += 1
            promise, end = g @ (xhat2 - xhat), g2 @ (xhat2 - xhat)
            rounding = 4 * eps * (abs(E) + abs(x) @ abs(xhat))
            tenth = 0.1 * min(promise, 0)
            if E2 <= E + min(tenth, -rounding) or (E2 <= E + rounding and (promise + end) / 2 <= tenth):
                break
            part = promise / (promise - end) if promise < 0 and end > promise else 0.1
            way, known = (dt * g, []) if known else (np.clip(part, 0.1, 0.5) * way, [])
        else:
            return np.inf
        dx, dg = y - x, g2 - g
        upward = dx @ dg > 0
        known = [*known, (dx, dg)][-pairs:] if upward else []
        dt = min(dx @ dg / (dg @ dg) if upward else 3 * dt, 10.0)
        x, E, g, xhat = y, E2, g2, xhat2
    return evaluations if rests(x, g) else np.inf
