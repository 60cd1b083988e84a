"""What clouds have and what we believe they have: leftovers of environments that are gone, and drift.

A leftover is a stack that is ours by its tags, or by a receipt, and whose environment is gone. Drift is what a receipt
has that the cloud has not, or the other way round; the receipt then follows. Nothing is removed unless `remove` is
called for it by id. Reached by RPC: docs/engine.md, "Reconciling".
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, deployments, environments, resources
from engine import effects, models, tags, traces
from engine.clouds import ports, services

LOG = logging.getLogger(__name__)

AT_A_TIME = 8  # stacks looked at
FOUND_LATE = "found by its tag after its environment had ended"
UNKNOWN = "its tags name an environment that is not there, and no receipt of one that was"
BUSY = "a deployment of it is under way: it is looked at when that has ended"

Clouds = Callable[[effects.Context], services.Cloud]
Report = dict[str, Any]


class NotLeftOver(Exception):
    """What was to be removed is no leftover."""


@dataclass(frozen=True)
class _Environment:
    """An environment as the database has it; `how` is None while it is there."""

    id: str
    name: str
    how: str | None
    version: int = 0
    busy: bool = False
    trust_id: str | None = None


@dataclass
class _Project:
    """What the database has of a project, and what was seen in its cloud."""

    id: str
    environments: dict[str, _Environment]
    borrowed: str | None  # a trust of whoever asks
    stacks: list[resources.CloudResource]
    looks: list[_Look] = field(default_factory=list)
    nobodys: list[ports.Found] = field(default_factory=list)  # ours, of environments that no receipt knows
    foreign: list[ports.Found] = field(default_factory=list)
    problems: list[Report] = field(default_factory=list)
    cloud: services.Cloud | None = None  # None: nobody lets us in

    @property
    def trusts(self) -> list[str | None]:
        """Rights to look into the project with: those of who asks, those of its environments, the service's own."""
        known = (self.borrowed, *(each.trust_id for each in self.environments.values()))
        return [*dict.fromkeys(each for each in known if each), None]


@dataclass(frozen=True, kw_only=True)
class _Look:
    environment: _Environment
    seen: traces.Look
    row: resources.CloudResource | None  # None: the receipt did not know the stack


class Reconciler:
    """Answers for one project at a time."""

    def __init__(
        self,
        database: base.Database,
        clouds: Clouds,
        owned: tags.Tags,
        settings: Mapping[tuple[str | None, str], Any] | None = None,
    ) -> None:
        self._database = database
        self._clouds = clouds
        self._tags = owned
        self._settings = settings or {}
        self._mutex = threading.Lock()
        self._removing: set[str] = set()

    def reconcile(self, project_id: str, environment_id: str | None = None, trust_id: str | None = None) -> Report:
        """`{"leftovers", "drift", "foreign", "skipped", "problems"}` of a project, or of one environment of it."""
        project = self._surveyed(project_id, environment_id, borrowed=trust_id)
        drift = self._written(project)
        return {
            "leftovers": _leftovers(project),
            "drift": drift,
            "foreign": [
                {"stack_id": each.id, "name": each.name, "region": each.region_name} for each in project.foreign
            ],
            "skipped": [{**_of(each), "reason": BUSY} for each in project.environments.values() if each.busy],
            "problems": project.problems,
        }

    def remove(self, project_id: str, stack_id: str, trust_id: str | None = None) -> Report:
        """Begins to remove a leftover; what it is. `reconcile` tells when it is gone. Raises `NotLeftOver`."""
        project = self._surveyed(project_id, only=stack_id, borrowed=trust_id)
        known = next((each for each in _leftovers(project) if each["stack_id"] == stack_id), None)
        if known is None:
            raise NotLeftOver(
                f"stack {stack_id}: expected a leftover of this installation in the project, found none: it is gone, "
                f"its environment is there, or it is not ours"
            )
        with self._mutex:
            if stack_id not in self._removing:
                self._removing.add(stack_id)
                threading.Thread(target=self._remove, args=(project.cloud, known), daemon=True).start()
        return known

    def _remove(self, cloud: services.Cloud, known: Report) -> None:
        stack = ports.Stack(name=known["name"], project_id=known["project_id"], region_name=known["region"])
        place = resources.Place(
            environment_id=known["environment_id"] or "",
            project_id=known["project_id"],
            region=known["region"] or "",
            stack=known["name"],
        )
        looks = [traces.look_at(cloud.orchestration, stack, place, left=known["reason"])]
        left: str | None = None
        try:
            cloud.orchestration.delete(stack)
        except Exception as error:
            LOG.warning("leftover stack %s of project %s stays: %s", stack.name, known["project_id"], error)
            left = str(error)
        try:
            looks.append(traces.look_at(cloud.orchestration, stack, place, left=left))
            with self._database.transaction() as session:
                if resources.receipt(session, place.environment_id, for_update=True) is not None:
                    for look in looks:
                        look.write(session)
        except Exception:  # whoever reconciles next takes it down
            LOG.exception("leftover stack %s: its receipt does not follow", stack.name)
        finally:
            with self._mutex:
                self._removing.discard(known["stack_id"])

    def _cloud(self, project_id: str, trust_id: str | None) -> services.Cloud:
        return self._clouds(
            effects.Context(
                deployment_id=f"reconciling-{uuid.uuid4().hex}",
                environment_id="",
                project_id=project_id,
                user_id="",
                owner_project_id=project_id,
                owner_user_id="",
                settings=self._settings,
                trust_id=trust_id,
            )
        )

    # What is there

    def _surveyed(
        self,
        project_id: str,
        environment_id: str | None = None,
        *,
        only: str | None = None,
        borrowed: str | None = None,
    ) -> _Project:
        """A look at all stacks of a project, of one environment, or at `only` one stack."""
        with self._database.reading() as session:
            known = {each.id: each for each in _environments(session, project_id) if environment_id in (None, each.id)}
            stacks = resources.stacks(session, project_id=project_id, environment_id=environment_id)
        project = _Project(project_id, known, borrowed, stacks)
        ours = self._found(project)
        if environment_id is not None:
            ours = [each for each in ours if tags.environment_of(each.tags) == environment_id]
            project.foreign.clear()
        if only is not None:
            ours = [each for each in ours if each.id == only]
            project.stacks = [row for row in stacks if row.physical_id == only]
        if project.cloud is not None:
            self._look(project, project.cloud.orchestration)
            self._look_at_strangers(project, project.cloud.orchestration, ours)
        return project

    def _found(self, project: _Project) -> list[ports.Found]:
        """Stacks that are ours by their tag; notes those that have only the tags that others may have, too."""
        problem: Exception | None = None
        for trust_id in project.trusts:
            try:
                cloud = self._cloud(project.id, trust_id)
                ours = list(cloud.orchestration.tagged(project.id, self._tags.installation))
                first = self._tags.first[:1]
                shared = [each for tag in first for each in cloud.orchestration.tagged(project.id, tag)]
            except Exception as error:  # another environment's trust may let us in
                LOG.warning("project %s can not be looked into: %s", project.id, error)
                problem = error
                continue
            project.cloud = cloud
            known = {each.id for each in ours} | {row.physical_id for row in project.stacks}
            project.foreign.extend(each for each in shared if each.id not in known)
            return ours
        project.problems.append(_problem(None, None, f"stacks of the project can not be listed: {problem}"))
        return []

    def _look(self, project: _Project, orchestration: ports.Orchestration) -> None:
        """Looks at every stack that receipts of environments at rest have."""
        wanted = [row for row in project.stacks if not project.environments[row.environment_id].busy]
        at = base.now().isoformat(timespec="seconds")
        vanished = f"it was not there any more when it was looked for at {at}Z: nobody here has removed it"

        def look(row: resources.CloudResource) -> traces.Look:
            left = row.reason or resources.NOBODYS if row.state == resources.LEFT else None
            stack, place = traces.stack_of_row(row), traces.place_of_row(row)
            return traces.look_at(orchestration, stack, place, left=left, vanished=vanished)

        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            for row, seen in zip(wanted, pool.map(look, wanted), strict=True):
                project.looks.append(_Look(environment=project.environments[row.environment_id], seen=seen, row=row))
                if seen.failure is not None:
                    project.problems.append(_problem(row.stack, row.region, seen.failure))

    def _look_at_strangers(
        self, project: _Project, orchestration: ports.Orchestration, ours: Sequence[ports.Found]
    ) -> None:
        """Looks at stacks that are an environment's by their tag and not on its receipt."""
        listed = {row.physical_id for row in project.stacks}
        known, there = project.environments, self._that_are(tags.environment_of(each.tags) for each in ours)
        for each in ours:
            environment_id = tags.environment_of(each.tags) or ""
            environment = known.get(environment_id)
            if environment is None and environment_id not in there:
                project.nobodys.append(each)
            if environment is None or environment.busy or each.id in listed:
                continue
            stack = ports.Stack(name=each.name, project_id=project.id, region_name=each.region_name)
            place = resources.Place(
                environment_id=environment.id,
                project_id=project.id,
                region=each.region_name or "",
                stack=each.name,
            )
            left = None if environment.how is None else FOUND_LATE
            seen = traces.look_at(orchestration, stack, place, policies=_policies(orchestration, stack), left=left)
            project.looks.append(_Look(environment=environment, seen=seen, row=None))

    def _that_are(self, environment_ids: Iterable[str | None]) -> set[str]:
        """Which of the environments there are, in any project: an administrator may have deployed for another."""
        wanted = {each for each in environment_ids if each}
        with self._database.reading() as session:
            return {each for each in wanted if environments.get(session, each) is not None}

    def _written(self, project: _Project) -> list[Report]:
        """Takes down what was seen, of environments that nobody has deployed meanwhile; what changed."""
        drift: list[Report] = []
        for look in project.looks:
            with self._database.transaction() as session:
                if _is_as_it_was(session, look.environment):
                    drift.extend(_drifted(look.environment, each) for each in look.seen.write(session))
        return drift


def _environments(session: orm.Session, project_id: str) -> Iterable[_Environment]:
    """Those of a project, and those that have been."""
    row = environments.Environment
    present = sa.select(row).where(row.project_id == project_id).options(orm.undefer(row.model))
    busy = set(deployments.busy_environments(session))
    for each in session.scalars(present):
        trust_id = models.trust_of(each.model)
        yield _Environment(each.id, each.name, None, each.version, each.id in busy, trust_id)
    for ended in session.scalars(sa.select(resources.Receipt).where(resources.Receipt.project_id == project_id)):
        yield _Environment(ended.environment_id, ended.name, ended.how)


def _is_as_it_was(session: orm.Session, known: _Environment) -> bool:
    """Whether what was seen is still true: nobody has deployed the environment since. Locks it."""
    if known.how is not None:
        return resources.receipt(session, known.id, for_update=True) is not None
    environments.lock(session, known.id)
    row = environments.get(session, known.id)
    return row is not None and row.version == known.version and not deployments.unfinished(session, known.id)


def _leftovers(project: _Project) -> list[Report]:
    """Stacks that are there and whose environment is not: by its receipt, or by their tags."""
    found = [
        {
            **_of(look.environment),
            "stack_id": look.seen.holdings.id,
            "name": look.seen.place.stack,
            "region": look.seen.place.region or None,
            "project_id": look.seen.place.project_id,
            "status": look.seen.holdings.status or None,
            "reason": look.seen.left or resources.NOBODYS,
        }
        for look in project.looks
        if look.environment.how is not None and look.seen.holdings is not None
    ]
    return found + [
        {
            "environment_id": tags.environment_of(each.tags),
            "environment_name": None,
            "stack_id": each.id,
            "name": each.name,
            "region": each.region_name,
            "project_id": project.id,
            "status": each.status or None,
            "reason": UNKNOWN,
        }
        for each in project.nobodys
    ]


def _policies(orchestration: ports.Orchestration, stack: ports.Stack) -> traces.Policies | None:
    try:
        return traces.Policies(orchestration.current(stack) or {})
    except ports.CloudError:  # the look that follows tells
        return None


def _drifted(environment: _Environment, row: resources.CloudResource) -> Report:
    return {
        **_of(environment),
        "stack": row.stack or None,
        "region": row.region or None,
        "id": row.physical_id,
        "type": row.type,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
    }


def _of(environment: _Environment) -> Report:
    return {"environment_id": environment.id, "environment_name": environment.name}


def _problem(stack: str | None, region: str | None, reason: str) -> Report:
    return {"stack": stack, "region": region or None, "reason": reason}
