"""What ``import amplitude_moloco`` adds to a program that already imports the SDK and requests.

    python benchmarks/start_up.py [--rounds 15] [--modules 10]

Fresh interpreters run ``import amplitude, requests`` only, or also the library, in turn. Each times
its own imports. After the medians, the slowest modules are listed, each without its own imports.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from statistics import median

_PROGRAM = """
import time
started = time.perf_counter()
import amplitude, requests
{more}
print(time.perf_counter() - started)
"""
_MORE = "import amplitude_moloco"
_ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # compiled once, as in an app
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
"""A line of Python's report: a module's own microseconds, and its name."""


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--modules", type=int, default=10)
    options = parser.parse_args()
    _start(_MORE)  # compiles the modules
    pairs = [(_start(), _start(_MORE)) for _ in range(options.rounds)]
    without = median(first for first, _ in pairs)
    added = median(second - first for first, second in pairs)
    print(f"import amplitude, requests {without * 1e3:6.1f} ms")
    print(f"import amplitude_moloco  + {added * 1e3:6.1f} ms (ratio {added / without:.2f})")
    if options.modules:
        print("\nslowest modules, in another run:")
        known = set(_modules())
        costs = {name: micros for name, micros in _modules(_MORE).items() if name not in known}
        for name in sorted(costs, key=costs.__getitem__, reverse=True)[: options.modules]:
            print(f"{costs[name] / 1e3:8.1f} ms {name}")


def _start(more: str = "") -> float:
    """Returns the seconds that all imports take in a fresh interpreter."""
    program = [sys.executable, "-c", _PROGRAM.format(more=more)]
    return float(_run(program).stdout)


def _modules(more: str = "") -> dict[str, int]:
    """Returns the microseconds of each imported module."""
    program = [sys.executable, "-X", "importtime", "-c", _PROGRAM.format(more=more)]
    return {name: int(micros) for micros, name in _LINE.findall(_run(program).stderr)}


def _run(program: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(program, capture_output=True, check=True, text=True, env=_ENVIRONMENT)


if __name__ == "__main__":
    main()
