"""How long the solver takes: 50 components over 500 package versions, and a contradiction among them.

CPU time of one process, the fastest of several runs: what other processes do does not count. The catalog is made up
from a seed: every package requires some of those before it, in ranges that leave a choice or force an older version.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from catalog import dependencies
from catalog.dependencies import Available, Need
from dsl.packages import Version, VersionSpec

COMPONENTS = 50
VERSIONS = 10  # of each
RUNS = 7
GOAL_MS = 100


class Made:
    """A catalog in memory."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)  # noqa: S311  reproducible, not secret
        self._packages = {dependencies.CORE: [_version(dependencies.CORE, 0, {})]}
        names = [f"org.example.P{number}" for number in range(COMPONENTS)]
        for position, name in enumerate(names):
            before = names[max(0, position - 8) : position]
            needs = source.sample(before, min(len(before), 3))
            self._packages[name] = [
                _version(name, minor, {each: _range(source, minor) for each in needs}) for minor in range(VERSIONS)
            ]
        self.names = names

    def versions(self, name: str) -> Sequence[Available]:
        """As `catalog.dependencies.Source`."""
        return self._packages.get(name, [])


def _range(source: random.Random, minor: int) -> str:
    """Any version, one that is not too old, or one that is not the newest."""
    return source.choice(["", "", f">=0.{max(0, minor - 4)},<1", f"<0.{minor + 2}"])


def _version(name: str, minor: int, require: dict[str, str]) -> Available:
    specs = {each: VersionSpec.parse(spec) for each, spec in require.items()}
    return Available(name, Version.coerce(f"0.{minor}.0"), specs, f"{name} {minor}")


def main() -> None:
    """Measure and print a table."""
    catalog = Made(seed=4)
    needs = [Need(name, VersionSpec.parse(""), ("the model",)) for name in catalog.names]
    solution = dependencies.resolve(needs, catalog)
    assert len(solution) == COMPONENTS + 1, "every component and the core library"
    milliseconds = fastest(lambda: dependencies.resolve(needs, catalog))
    print(
        f"{f'{COMPONENTS} components over {COMPONENTS * VERSIONS} versions':48} {milliseconds:7.1f} ms  < {GOAL_MS} ms"
    )
    impossible = [*needs, Need(catalog.names[0], VersionSpec.parse(">=7"), ("somebody else",))]

    def refused() -> None:
        try:
            dependencies.resolve(impossible, catalog)
        except dependencies.Unresolvable:
            return
        raise AssertionError("expected a contradiction")

    print(f"{'the same with a contradiction, explained':48} {fastest(refused):7.1f} ms")


def fastest(work: Callable[[], object]) -> float:
    """Milliseconds of CPU time of the fastest run."""
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) * 1000


if __name__ == "__main__":
    main()
