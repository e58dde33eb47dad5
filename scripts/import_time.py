"""Measures the processor time that `import hamux` adds to importing JAX and Equinox, in fresh processes; it may be 50 ms.

    python -m scripts.import_time
"""

import os
import subprocess
import sys
from functools import partial

LIMIT = 0.050  # seconds
CODE = """
import gc, time
import jax, equinox
gc.collect()  # JAX's garbage: the turn of the collector that clears it could fall anywhere
start = time.process_time()
import hamux
print(time.process_time() - start)
"""


def main() -> int:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = partial(subprocess.run, [sys.executable, "-c", CODE], check=True, capture_output=True, text=True, env=env)
    run()  # compiles the modules and fills the disk's cache
    times = sorted(float(run().stdout) for _ in range(9))
    print(f"import hamux adds {1000 * times[4]:.0f} ms (median of 9; best {1000 * times[0]:.0f} ms)")
    return int(times[0] > LIMIT)  # a busy machine makes all else slow, but not every run


if __name__ == "__main__":
    sys.exit(main())
