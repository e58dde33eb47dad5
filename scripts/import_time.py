"""Measures the processor time that `import hamux` adds to importing JAX and Equinox, in fresh processes; it may be 50 ms.

    python -m scripts.import_time
"""

import statistics
import subprocess
import sys

LIMIT = 0.050  # seconds
CODE = "import time, jax, equinox; start = time.process_time(); import hamux; print(time.process_time() - start)"


def main() -> int:
    command = [sys.executable, "-c", CODE]
    subprocess.run(command, check=True, capture_output=True)  # compiles the modules and fills the disk's cache
    times = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(9)]
    best, median = min(times), statistics.median(times)
    print(f"import hamux adds {1000 * median:.0f} ms (median of {len(times)}; best {1000 * best:.0f} ms)")
    return int(best > LIMIT)  # a busy machine makes all else slow, but not every run


if __name__ == "__main__":
    sys.exit(main())
