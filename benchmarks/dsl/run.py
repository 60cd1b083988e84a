"""The language's speed beside hand-written Python, json and PyYAML: `python benchmarks/dsl/run.py [rounds]`.

One table: what was measured, the median ratio, the goal, whether it is met. Both sides run in turn in this process; no
service, no network. The exit status tells whether every goal is met.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import language  # noqa: E402
import reading  # noqa: E402
import scale  # noqa: E402


def main(rounds: int) -> int:
    """Print the table; 1 if a goal is missed."""
    print(f"{'':55}{'measured':>12}{'ratio':>9}{'goal':>9}  {'beside':15}")
    missed = 0
    for part in (language, reading, scale):
        for row in part.rows(rounds):
            goal = "" if row.goal is None else f"{row.goal:g}{row.unit}"
            verdict = "" if row.goal is None else "met" if row.is_met else "MISSED"
            ratio = f"{row.ratio:.{2 if row.ratio < 10 else 0}f}{row.unit}"
            print(f"{row.title:55}{row.measured:>12}{ratio:>9}{goal:>9}  {row.beside:15}{verdict}", flush=True)
            missed += not row.is_met
    if not os.environ.get("CHANDLERY_PUBLIC_PACKAGES"):
        print("Only the core library was read: CHANDLERY_PUBLIC_PACKAGES names no folder with public packages.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
