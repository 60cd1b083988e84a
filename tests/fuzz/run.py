"""Fuzz the language: random expressions, programs and documents, for a number of seconds.

    python tests/fuzz/run.py --seconds 120 [--seed N] [--keep FOLDER]

Each must end in a value or an error of the language, soon (tests/dsl/dsl_oracle.py). What does not is reduced to a
small example and printed; the exit status is then 1. A hang prints where Python stands and ends with status 1.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "dsl")]

from dsl_generators import EXPRESSIONS, SOUP, documents, programs  # noqa: E402
from dsl_oracle import run  # noqa: E402
from hypothesis import HealthCheck, given, seed, settings  # noqa: E402
from hypothesis.strategies import SearchStrategy  # noqa: E402
from test_dsl_fuzz import returning  # noqa: E402

HANG = 60  # seconds without an answer
ROUND = 100  # examples between two looks at the clock


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--keep", type=Path, default=None, help="a folder for the examples that failed")
    chosen = options.parse_args()
    number = random.SystemRandom().getrandbits(32) if chosen.seed is None else chosen.seed
    warnings.simplefilter("ignore")  # hypothesis on the recursion limit, which programs raise
    print(f"seed {number}")
    outcomes: collections.Counter[str] = collections.Counter()
    failures: dict[str, str] = {}
    targets: list[tuple[SearchStrategy[str], Callable[[str], str]]] = [
        (EXPRESSIONS, returning),
        (SOUP, returning),
        (programs(), str),
        (documents(), str),
    ]
    end = time.monotonic() + chosen.seconds
    while time.monotonic() < end:
        for strategy, package in targets:
            number += 1
            found = _round(strategy, package, number, outcomes)
            if found is not None and found[1] not in failures:
                failures[found[1]] = found[0]
                print(f"\n{found[0]}\n{found[1]}", flush=True)
    for name, count in outcomes.most_common(12):
        print(f"{count:7} {name}")
    print(f"{sum(outcomes.values())} examples, {len(failures)} failures")
    if chosen.keep is not None:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        for index, source in enumerate(failures.values()):
            (chosen.keep / f"{number}-{index}.yaml").write_text(source)
    return 1 if failures else 0


def _round(
    strategy: SearchStrategy[str], package: Callable[[str], str], number: int, outcomes: collections.Counter[str]
) -> tuple[str, str] | None:
    """(source, what went wrong) of the smallest failing example, None if there was none."""
    last = ""

    @seed(number)
    @settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def examples(text: str) -> None:
        nonlocal last
        last = package(text)
        faulthandler.dump_traceback_later(HANG, exit=True)
        outcomes[run(last)] += 1
        faulthandler.cancel_dump_traceback_later()

    try:
        examples()
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever it is, it is what the fuzzer is looking for
        faulthandler.cancel_dump_traceback_later()
        return last, "".join(traceback.format_exc(limit=-3))
    return None


if __name__ == "__main__":
    sys.exit(main())
