"""Real labs in temporary directories: each test gets its own, and nothing of it is left."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_world import template_of

from engine.clouds.lab import LabOrchestration, converge, isolation
from engine.clouds.ports import Stack


@pytest.fixture(scope="session")
def level() -> str:
    return isolation().level


@pytest.fixture(autouse=True)
def _skip_where_nothing_is_isolated(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("isolation") and isolation().level == "none":
        pytest.skip("; ".join(isolation().missing))


@pytest.fixture(scope="session")
def running_lab() -> Iterator[LabOrchestration]:
    """One lab for all tests that do not break it: making one takes most of a second."""
    yield from _lab()


@pytest.fixture(scope="module")
def shared_lab(running_lab: LabOrchestration) -> Iterator[LabOrchestration]:
    """The running lab for a module's own stack, which several tests look at."""
    known = {state.id for state in running_lab.site.stacks.all()}
    yield running_lab
    _delete_stacks(running_lab, known)


@pytest.fixture
def lab(running_lab: LabOrchestration) -> Iterator[LabOrchestration]:
    """The running lab; the stacks of the test are deleted after it."""
    known = {state.id for state in running_lab.site.stacks.all()}
    yield running_lab
    _delete_stacks(running_lab, known)


@pytest.fixture
def fresh_lab() -> Iterator[LabOrchestration]:
    """A lab of the test's own, to be broken."""
    yield from _lab()


def _delete_stacks(lab: LabOrchestration, known: set[str]) -> None:
    for state in lab.site.stacks.all():
        if state.id not in known:
            converge.remove_all(lab.site, state)
            lab.site.stacks.remove(state)


def _lab() -> Iterator[LabOrchestration]:
    # The name has what would break the options of an overlay mount.
    with tempfile.TemporaryDirectory(prefix="lab: a, b ", ignore_cleanup_errors=True) as folder:
        made = LabOrchestration(Path(folder, "data"))
        try:
            yield made
        finally:
            made.cleanup()


@pytest.fixture
def stack() -> Stack:
    return Stack("murano--story", project_id="p1", region_name="RegionOne", environment_id="e1")


@pytest.fixture
def push(lab: LabOrchestration, stack: Stack) -> Callable[..., dict[str, Any]]:
    """Push resources (and outputs) as a template of the story's stack."""

    def pushing(resources: dict[str, Any], outputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return lab.push(stack, template_of(resources, outputs, **more), {}, None, {})

    return pushing
