"""Measures what `import hamux` adds to importing JAX and Equinox, in fresh processes: processor time, and its share of what
`import equinox` itself takes there, which a slow machine makes longer too. The share may be a half.

    python -m scripts.import_time
"""

import os
import subprocess
import sys
from functools import partial
from statistics import median

LIMIT = 0.5
CODE = """
import gc, time
import jax
gc.disable()  # the turn of the collector that clears JAX's garbage could fall anywhere
start = time.process_time()
import equinox
middle = time.process_time()
import hamux
print(middle - start, time.process_time() - middle)
"""


def main() -> int:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = partial(subprocess.run, [sys.executable, "-c", CODE], check=True, capture_output=True, text=True, env=env)
    run()  # compiles the modules and fills the disk's cache
    pairs = [tuple(map(float, run().stdout.split())) for _ in range(9)]
    share = median(ours / equinox for equinox, ours in pairs)
    print(f"import hamux adds {1000 * median(ours for _, ours in pairs):.0f} ms, {share:.0%} of import equinox (medians of 9)")
    return int(share > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
