"""What the engine's tests share: environments in a real database, and a cloud whose memory outlives workers."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.db import base, deployments, environments, journal, sessions, statuses
from engine.clouds import ports, services

PROJECT = "project-1"
USER = "user-1"


@dataclass
class MemoryCloud:
    """Orchestration and Agents with a memory: stacks as last pushed, plans carried out once per id, all calls counted.

    It plays the part of the real world in kill tests: it stays as it is when a worker dies.
    """

    stacks: dict[str, dict] = field(default_factory=dict)
    results: dict[str, dict] = field(default_factory=dict)
    executed: Counter = field(default_factory=Counter)
    calls: list[tuple] = field(default_factory=list)
    before: Callable[[str, Mapping[str, Any]], None] | None = None
    ids: dict[str, dict[str, str]] = field(default_factory=dict)  # of what each stack has, by name; "" is the stack
    unlisted: bool = False  # whether it does not say what stacks have
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    trust: services.Trust | None = None

    def push(self, stack, template, files, environment, parameters):
        self._called("push", stack=stack.name, template=template)
        with self.mutex:
            self.stacks[stack.name] = template
            self.tags[stack.name] = stack.tags
            known, names = self.ids.get(stack.name, {}), ["", *template.get("resources", {})]
            self.ids[stack.name] = {name: known.get(name) or uuid.uuid4().hex for name in names}
        return self.outputs(stack)

    def current(self, stack):
        return self.stacks.get(stack.name)

    def outputs(self, stack):
        template = self.stacks.get(stack.name) or {}
        return {name: f"value of {name}" for name in template.get("outputs", {})}

    def delete(self, stack):
        self._called("delete", stack=stack.name)
        with self.mutex:
            self.stacks.pop(stack.name, None)
            self.ids.pop(stack.name, None)

    def resources(self, stack):
        if self.unlisted:
            raise ports.CloudError("nobody looks into stacks today")
        found = self.ids.get(stack.name)
        if found is None:
            return None
        listed = self.stacks[stack.name].get("resources", {})
        held = [
            ports.Held(id=found[name], name=name, type=each["type"], status="CREATE_COMPLETE")
            for name, each in listed.items()
        ]
        return ports.Holdings(id=found[""], resources=held, status="CREATE_COMPLETE")

    def tagged(self, project_id, tag):
        return [
            ports.Found(id=self.ids[name][""], name=name, tags=tags, status="CREATE_COMPLETE")
            for name, tags in self.tags.items()
            if name in self.ids and tag in tags
        ]

    def register(self, environment_id, project_id, instance_id):
        agent_id = self.agent_id(environment_id, project_id, instance_id)
        return {"agent_id": agent_id, "url": "http://chandlery.example", "token": "token"}

    access = register

    def agent_id(self, environment_id, project_id, instance_id):
        return f"agent-{instance_id}"

    def send(self, agent_id, plan_id, plan, timeout=None):
        self.run(agent_id, plan_id, plan, timeout)

    def run(self, agent_id, plan_id, plan, timeout, check=None):
        self._called("run", agent=agent_id, plan=plan_id)
        with self.mutex:
            if plan_id not in self.results:
                self.executed[plan_id] += 1
                self.results[plan_id] = {
                    "FormatVersion": "2.0.0",
                    "SourceID": plan.get("ID"),
                    "ErrorCode": 0,
                    "Body": f"done {plan.get('Name')}",
                }
            return self.results[plan_id]

    def forget(self, environment_id):
        self._called("forget", environment=environment_id)

    def cloud(self) -> services.Cloud:
        return services.Cloud(orchestration=self, agents=self, trust=self.trust)

    def _called(self, name: str, **arguments: Any) -> None:
        if self.before is not None:
            self.before(name, arguments)
        with self.mutex:
            self.calls.append((name, *arguments.values()))


def new_environment(
    database: base.Database,
    applications: list[dict] | None = None,
    name: str = "harbour",
    id_: str | None = None,
    **model: Any,
) -> str:
    """An environment as a user composed it, never deployed; its id."""
    environment_id = id_ or base.new_id()
    with database.transaction() as session:
        session.add(
            environments.Environment(
                id=environment_id,
                name=name,
                project_id=PROJECT,
                model={
                    "Objects": {
                        "?": {"type": "io.murano.Environment", "id": environment_id},
                        "name": name,
                        "services": applications or [],
                    },
                    "Attributes": [],
                    "project_id": PROJECT,
                    "user_id": USER,
                    **model,
                },
            )
        )
    return environment_id


def submit(
    database: base.Database,
    environment_id: str,
    *,
    lock: list[dict] | None = None,
    method: str = "deploy",
    object_id: str | None = None,
    args: dict | None = None,
    kind: str = "deploy",
    change: Callable[[dict], dict] | None = None,
    plan: Mapping[str, Any] | None = None,
) -> str:
    """Opens a session, changes its model, and submits its deployment as the API does; the deployment's id."""
    with database.transaction() as session:
        environment = environments.get(session, environment_id)
        opened = sessions.open_for(session, environment, USER)
        if change is not None:
            opened.model = change(opened.model)
        if kind == "delete":
            opened.model = {**opened.model, "Objects": None}
        opened.state = sessions.DELETING if kind == "delete" else sessions.DEPLOYING
        action = {"object_id": object_id or environment_id, "method": method, "args": args or {}}
        return deployments.submit(
            session,
            environment_id=environment_id,
            session_id=opened.id,
            project_id=PROJECT,
            user_id=USER,
            kind=kind,
            action=None if kind == "delete" else action,
            model=opened.model,
            lock=lock or [],
            plan=plan,
        ).id


@dataclass(frozen=True)
class Seen:
    """All that a deployment left in the database, without what differs from run to run by nature (times, owners)."""

    state: str | None
    result: Any
    session_state: str | None
    model: Any
    version: int | None
    reports: list[tuple]
    progress: list[str] = field(default_factory=list)  # what the engine said of its own work, without times
    sequence: list[int] = field(default_factory=list)  # of both


def look(database: base.Database, deployment_id: str) -> Seen:
    """What a client would see of the deployment now."""
    with database.reading() as session:
        deployment = session.get(deployments.Deployment, deployment_id)
        if deployment is None:
            return Seen(None, None, None, None, None, [])
        environment = environments.get(session, deployment.environment_id)
        opened = session.get(sessions.Session, deployment.session_id) if deployment.session_id else None
        everything = statuses.of_deployment(session, deployment_id, progress=True)
        reports = statuses.of_deployment(session, deployment_id)
        return Seen(
            state=deployment.state,
            result=deployment.result,
            session_state=opened and opened.state,
            model=environment and environment.model,
            version=environment and environment.version,
            reports=[(report.sequence, report.level, report.text, report.entity_id) for report in reports],
            progress=[re.sub(r" after [0-9.]+ s", "", each.text) for each in everything if each not in reports],
            sequence=[each.sequence for each in everything],
        )


def texts(database: base.Database, deployment_id: str) -> list[str]:
    return [text for _sequence, _level, text, _entity in look(database, deployment_id).reports]


def effects_of(database: base.Database, deployment_id: str) -> dict[str, journal.JournalEntry]:
    with database.reading() as session:
        return {entry.key: entry for entry in journal.entries(session, deployment_id)}


def let_the_lease_run_out(database: base.Database, deployment_id: str) -> None:
    """As if its worker had not been heard of for longer than its lease; no test has to be quicker than a lease."""
    with database.transaction() as session:
        session.get_one(deployments.Deployment, deployment_id).lease_expires = 1.0


def wait_until(condition: Callable[[], object], seconds: float = 60.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:g} s")
        time.sleep(0.01)


def finished(database: base.Database, deployment_id: str, seconds: float = 60.0) -> Seen:
    """Waits for the end of the deployment; what is seen of it then."""
    wait_until(
        lambda: look(database, deployment_id).state in (deployments.FINISHED, None),
        seconds,
        f"the end of deployment {deployment_id}",
    )
    return look(database, deployment_id)
