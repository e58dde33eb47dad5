"""Puts faults into a copy of hamux, one at a time, and tells which test notices each: `make faults`.

A fault that goes unnoticed asks for a test. Each stands below as in a diff, with the tests that should see it; only
those are run (`attention::test_masks` for one of several with that name). What is to be replaced must stand in hamux
exactly once, in whichever module that is.

    python -m scripts.faults beta    # only those faults in whose name this word is
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from typing import NamedTuple

from scripts.project import BUILD, ENV, PACKAGE, BuildError, export

FAULTS = r"""
a half lost, identity: test_elementwise_activation
- 0.5 * jnp.square(z)
+ jnp.square(z)

beta lost, exp: test_elementwise_activation
- jnp.exp(beta * z) / beta
+ jnp.exp(beta * z)

beta lost, softmax: test_rowwise_accuracy
- top + jnp.log(others) / beta
+ top + jnp.log(others)

a factor of two, tanh: test_elementwise_accuracy
- jnp.exp(-2 * beta * a)
+ jnp.exp(-beta * a)

the size lost, layernorm: test_rows
- size * gamma * jnp.sqrt
+ gamma * jnp.sqrt

eps outside of the root, spherical norm: test_rowwise_accuracy
- jnp.sqrt(jnp.sum(z * z, axes) + eps)
+ (jnp.sqrt(jnp.sum(z * z, axes)) + eps)

the last Newton step lost, entmax: test_rowwise_accuracy
- s = s - a * (total - 1) / slope
+ s = s + 0 * total

the margin of another alpha, entmax: test_entmax_takes_all_from_a_margin_on test_rows
- up = ~(a * y <= -s)
+ up = ~(y <= -s)

the ghost lost, ghostmax: test_ghostmax_is_a_softmax_with_one_more
- jnp.log1p(others + ghost)
+ jnp.log(others)

16 bits added up in 16 bits: test_rowwise_accuracy
- jnp.asarray(a, jnp.float32) if a.dtype.itemsize < 4 else a
+ a

the Lagrangian added, Legendre transform: test_fenchel_young test_energies_add_up test_the_energy_of_a_large_layer_in_half_precision
- return inner(xhat, x) - F(x)
+ return inner(xhat, x) + F(x)

a sign, slope of the parameters: test_legendre_sees_parameters
- dE -= eqx.filter_jvp
+ dE += eqx.filter_jvp

a sign, the flow: test_step_is_the_closed_form test_the_names_of_the_list_form
- return map_named(jnp.negative, self.dEdg(xs))
+ return self.dEdg(xs)

a sign, bias of a layer: test_bias_is_a_bias_synapse
- z + self.b.astype
+ z - self.b.astype

a sign, dense: synapses::test_received
- return -jnp.sum(jax.vmap(contract)(*rows))
+ return jnp.sum(jax.vmap(contract)(*rows))

an axis transposed, attention: attention::test_received
- "hqy,hky->hqk", q, k
+ "hqy,hky->hqk", k, q

beta lost, attention: attention::test_received
- beta=self.head_dim**-0.5
+ beta=1.0

a mask dropped, attention: test_masks
- jnp.where(seen[None], h, _MASKED)
+ h

one key for two weights, attention: test_attention_starts_soft
- jax.random.fold_in(key, i)
+ key

one key for two weights, mixer: test_the_two_weights_of_a_mixer_are_drawn_apart
- _normal, key_V
+ _normal, key_U

a half lost, Hebbian: synapses::test_received
- -0.5 * (jnp.sum(m * m) - itself)
+ -(jnp.sum(m * m) - itself)

a neuron joined to itself, Hebbian: synapses::test_received
- (jnp.sum(m * m) - itself)
+ jnp.sum(m * m)

a half lost, stored patterns: test_store
- return -0.5 * jnp.sum(widen(Xi)
+ return -jnp.sum(widen(Xi)

a bias kept, forgotten pattern: test_what_is_stored_and_forgotten_leaves_no_trace
- hidden.b.at[wanted].set(-jnp.inf)
+ hidden.b

empty rows counted, mixture: test_mixture_of_many_states
- return jnp.sum(hidden.b > -jnp.inf, -1)
+ pass

a square lost, mixture: test_mixture
- jnp.sum(w, -1) ** 2 / jnp.maximum
+ jnp.sum(w, -1) / jnp.maximum

padding counted, average pool: test_padding_takes_no_part_in_a_pool
- / _slide(self, jnp.ones_like(x), 0.0, lax.add)
+ / float(np.prod(self.window))

a gradient let through, frozen: test_frozen
- jax.tree.map(lax.stop_gradient, self.synapse)
+ self.synapse

tau lost: test_trace_repeats_the_end_and_holds_what_was_asked_for
- -g / layer.tau
+ -g

a clamped element let go: test_energy_never_rises
- self.ham.neurons, self.free(slopes))
+ self.ham.neurons, slopes)

the sense of a mask, step: test_step_is_that_of_the_list_form_with_masks_of_the_other_sense
- None if mask is None else ~mask
+ mask

the guard of the energy removed: test_energy_never_rises
- accept = finite & (fallen | 
+ accept = finite & (True | 

the step size stale: test_descent_finds_every_rest
- jnp.where(accept, longer, shorter * dt)
+ dt + 0 * longer

never at rest: test_a_converged_state_is_a_fixed_point
- jnp.all(point.squares <= tol.astype
+ jnp.all(point.squares < -tol.astype

step sizes differentiated: test_an_unrolled_gradient_is_that_of_the_steps_that_were_taken
- ham, point, trial = lax.stop_gradient((ham, point, trial))
+ pass

the right-hand side as it comes: test_a_small_loss_has_a_small_implicit_gradient
- b = b / size
+ size = 1.0

what is held forgotten, implicit gradient: test_gradients_through_retrieval_are_finite_differences
- g if mask is None else jnp.where(over(mask, g), x - x0, g)
+ g

every step taken: test_rectified_neurons_have_the_density_of_what_is_up
- taken = jnp.log(jax.random.uniform(keys[1], (), x.dtype)) < log_ratio
+ taken = log_ratio == log_ratio

the density of states, not of activations: test_rectified_neurons_have_the_density_of_what_is_up
- sum(log_slopes) - energy / temperature
+ -energy / temperature

bytes too many not seen, loading: test_bytes_too_many_are_refused
- if part.read():
+ if False:

the structure not compared, loading: test_what_does_not_fit_is_told
- _check_same(path, saved, wanted)
+ pass

litter left behind, saving: test_a_failed_write_leaves_what_was_there
- new.unlink(missing_ok=True)
+ pass

too little noise: test_a_softmax_memory_at_the_temperature_of_its_softmax_is_a_mixture_of_gaussians
- jnp.sqrt(2 * step) * noise
+ jnp.sqrt(step) * noise

temperature lost: test_a_step_near_zero_temperature_is_that_of_the_dynamics
- step = temperature * dt *
+ step = dt *

layers on the wrong side, elimination: test_missing_layers_start_from_their_neighbours
- there = {name: jnp.negative(slopes[name]) for name in names}
+ there = {name: slopes[name] for name in names}

held elements let go, elimination: test_what_is_held_of_an_eliminated_layer_stays
- return model.keep(xs, moved)
+ return moved

taken for affine whatever it is, elimination: test_affine_is_found_out
-     except Exception:  # whatever JAX raises where it cannot transpose
-         return False
+     except Exception:  # whatever JAX raises where it cannot transpose
+         return True

a minimum only to begin with, elimination: test_eliminated_layers_stay_at_their_minimum
- xs = settled(model, model.eliminated, xs)
+ xs = xs

a decision computed wherever it is used: test_a_program_grows_with_its_layers_and_no_faster
- return lax.while_loop(lambda loop: loop[0] <= 0, once, start)[1]
+ return accept

neurons that listen to themselves, Hebb: test_hebb_and_bias_are_the_energy_that_they_say
- return without_diagonal(Xi.T @ Xi / Xi.shape[1])
+ return Xi.T @ Xi / Xi.shape[1]

what is known not taken away, Storkey: test_storkey_is_the_loop_of_the_paper
- jnp.outer(xi, xi) - known - known.T
+ jnp.outer(xi, xi)

one neuron never flips: test_flips_find_exactly_the_minima_among_all_corners
- jax.random.permutation(jax.random.fold_in(key, n), start.size)
+ jax.random.permutation(jax.random.fold_in(key, n), start.size - 1)

a bias lost, classifier: test_a_step_is_a_perceptron_whose_output_is_fed_back
- jnp.full(len(Xi), bias, Xi.dtype)
+ jnp.zeros(len(Xi), Xi.dtype)

pooling that takes the largest, hierarchy: test_the_energy_is_its_formula_by_loops
- PoolSynapse(2, "average", ConvSynapse((3, 3)))
+ PoolSynapse(2, "max", ConvSynapse((3, 3)))

rows and columns exchanged, Fashion-MNIST: test_fashion_mnist_reads_what_idx_files_hold
- ink = _idx(images)[..., None]
+ ink = _idx(images).swapaxes(1, 2)[..., None]

known patches let go, completion: test_completion_is_a_retrieval_that_holds_what_is_known
- step(batch, xs, dt, clamped={"image": known})
+ step(batch, xs, dt)

heads that look the other way: test_each_head_begins_by_looking_aside
- keys = _turn(queries, (aside @ waves)[:, None])
+ keys = _turn(queries, -(aside @ waves)[:, None])

a root of two lost, tripartite: test_the_energy_is_its_sum_over_indices
- sqrt(0.5) * phat
+ phat

twice the echo, astrocyte: test_eigenvalues_of_the_coupling_are_those_of_hebb_saturated
- (strength / 2) ** 0.5 * V
+ strength**0.5 * V

a slope that is not rescaled, streams: streams::test_first_and_second_derivatives
- [share[:, None] * g for share
+ [g for share

the last, incomplete chunk dropped, streams: streams::test_first_and_second_derivatives
-     if not rest:
+     if True:

rows numbered on each device anew, streams: scale::test_eight_devices
- part(chunk, rows, i * size + start)
+ part(chunk, rows, start)
"""


class Fault(NamedTuple):
    what: str
    tests: list[str]
    old: str
    new: str


def listed(text: str) -> list[Fault]:
    found = re.findall(r"^(\S.*): (.*)\n((?:- .*\n)+)((?:\+ .*\n)+)", text, re.M)
    lines = lambda rows: "\n".join(row[2:] for row in rows.splitlines())
    return [Fault(what, tests.split(), lines(old), lines(new)) for what, tests, old, new in found]


def place(text: str, files: list[Path]) -> Path:
    """The file that holds `text`, which must stand in one of them, once."""
    places = [file for file in files for _ in range(file.read_text().count(text))]
    if len(places) != 1:
        raise BuildError(f"this must stand in hamux once, and does so {len(places)} times: {text}")
    return places[0]


def node(package: Path, module: str, name: str) -> str:
    """What pytest calls a test."""
    file = place(f"def {name}(", list(package.glob(f"tests/test_{module or '*'}.py")))
    return f"{file.relative_to(package.parent)}::{name}"


def test(package: Path, names: list[str], *options: str) -> list[str]:
    """The names of those tests that fail in the copy `package`, of which the first one ends the run."""
    nodes = [node(package, *name.rpartition("::")[::2]) for name in names]
    env = ENV | {"PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "-p", "no:cacheprovider", "--tb=no", *options]
    done = subprocess.run([*command, *nodes], cwd=package.parent, env=env, text=True, capture_output=True)
    failed = re.findall(r"^FAILED \S+::(.*?)(?: - .*)?$", done.stdout, re.M)
    if done.returncode and not failed:
        raise BuildError(f"{' '.join(nodes)} could not be run:\n{done.stdout}{done.stderr}")
    return failed


def copy(folder: Path) -> Path:
    (folder / "pyproject.toml").write_bytes((BUILD / "pyproject.toml").read_bytes())
    return copytree(PACKAGE, folder / "hamux")


def code(package: Path) -> list[Path]:
    return [file for file in package.rglob("*.py") if file.parent.name != "tests"]


def inject(fault: Fault) -> bool:
    """Whether a test notices the fault; prints which."""
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        package = copy(Path(folder))
        file = place(fault.old, code(package))
        file.write_text(file.read_text().replace(fault.old, fault.new))
        failed = test(package, fault.tests)
    print(f"{fault.what:45} {' '.join(failed) or 'NOT NOTICED'} ({time.time() - start:.0f} s)", flush=True)
    return bool(failed)


def main() -> int:
    export()
    faults = [o for o in listed(FAULTS) if all(word in o.what for word in sys.argv[1:])]
    print(f"{len(faults)} faults; first, all of their tests pass without any")
    with tempfile.TemporaryDirectory() as folder:
        package = copy(Path(folder))
        for fault in faults:
            place(fault.old, code(package))
        if failed := test(package, sorted({name for fault in faults for name in fault.tests}), "-nauto"):
            raise BuildError(f"{failed[0]} fails without any fault")
    with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)) as pool:
        noticed = list(pool.map(inject, faults))
    print(f"{sum(noticed)} of {len(noticed)} faults noticed")
    return 0 if all(noticed) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as e:
        sys.exit(str(e))
