"""What effects leave in a cloud, for the receipt: looked at beside the effect, written with its outcome.

`engine.execution` carries effects on clouds out through `Trace`. Programs see nothing of it, so journals replay as
before. A look that fails fails nothing: the receipt says so, and the next look fills it in (docs/engine.md, "The
receipt").
"""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from sqlalchemy import orm

import dsl
from catalog.db import base, masking, resources
from engine import effects
from engine.clouds import ports

LOG = logging.getLogger(__name__)

Rows = Callable[[orm.Session], object]

SHARED_ROUTER = "environments of the project share it: none of them removes it"
SHARED_WORKFLOW = "workflows are the project's: nothing removes them"
FORGOTTEN_LATER = "the agents' broker removes it when the environment has ended"
VHOST, BROKER_USER = "RabbitMQ::VirtualHost", "RabbitMQ::User"
ON_BROKER = (VHOST, BROKER_USER)


class Trace:
    """One effect on a cloud and what it leaves there. `again`: a worker that died may have carried it out already."""

    def __init__(self, performer: effects.Performer, effect: dsl.Effect, *, again: bool = False) -> None:
        self._performer = performer
        self._effect = effect
        self._again = again
        self._notes: list[Rows] = []

    def perform(self) -> Any:
        """The effect's outcome. Raises as `effects.Performer.perform`."""
        self._notes = []
        name = self._effect.name
        if name not in ("heat.push", "heat.delete"):
            outcome = self._performer.perform(self._effect)
            try:
                self._notes.extend(_made(self._performer.context, name, self._effect.arguments, outcome))
            except (KeyError, TypeError, ValueError):  # an answer of another form: the program makes of it what it can
                context = self._performer.context
                trace = context.veil.text(traceback.format_exc())
                LOG.error("environment %s: what %s made is not known\n%s", context.environment_id, name, trace)
            return outcome
        if name == "heat.delete" or self._again:  # what goes unseen could not be told of afterwards
            self._look(None)
        try:
            outcome = self._performer.perform(self._effect)
        except dsl.SystemFailure as failure:
            self._look(masking.masked_text(str(failure.message)) if name == "heat.delete" else None)
            raise
        self._look(None)
        return outcome

    def write(self, session: orm.Session) -> None:
        """Writes what was seen, in the transaction of the outcome. May be repeated."""
        for note in self._notes:
            note(session)

    def _look(self, left: str | None) -> None:
        self._notes.append(look(self._performer, self._effect, left=left).veiled(self._performer.context.veil).write)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a stack was seen to have: `holdings` None, there is no such stack; `failure`, why it could not be seen."""

    place: resources.Place
    holdings: ports.Holdings | None = None
    seen: Sequence[resources.Seen] | None = None
    failure: str | None = None
    left: str | None = None
    vanished: str | None = None

    def write(self, session: orm.Session) -> list[resources.CloudResource]:
        """Takes it down; what changed since the last look."""
        if self.failure is not None:
            resources.unseen(session, self.place, self.failure)
            return []
        return resources.see(session, self.place, self.seen, left=self.left, vanished=self.vanished)

    def veiled(self, veil: masking.Veil) -> Look:
        """Without secrets in what the cloud says of failures."""

        def told(text: str | None) -> str | None:
            return None if text is None else veil.text(text)

        seen = self.seen and [dataclasses.replace(each, trouble=told(each.trouble)) for each in self.seen]
        return dataclasses.replace(self, seen=seen, failure=told(self.failure), left=told(self.left))


def look(performer: effects.Performer, effect: dsl.Effect, *, left: str | None = None) -> Look:
    """What the stack of a `heat.push` or `heat.delete` has now. Raises `dsl.Interrupted`."""
    stack, place = place_of(performer, effect)
    arguments: Mapping[str, Any] = effect.arguments
    policies: Policies | None = None
    if effect.name == "heat.push":
        policies = Policies(arguments["template"], arguments.get("files"), arguments.get("parameters"))
    return look_at(performer.cloud.orchestration, stack, place, policies=policies, left=left)


def look_at(
    orchestration: ports.Orchestration,
    stack: ports.Stack,
    place: resources.Place,
    *,
    policies: Policies | None = None,
    left: str | None = None,
    vanished: str | None = None,
) -> Look:
    """What a stack has now. Raises `dsl.Interrupted` only."""
    try:
        holdings = orchestration.resources(stack)
        seen = None if holdings is None else _seen(stack, holdings, policies or Policies({}))  # which knows of none
    except dsl.Interrupted:
        raise
    except Exception as error:  # whatever the cloud's trouble is, the effect has its outcome
        what = masking.masked_text(str(error))
        LOG.warning("environment %s: stack %s can not be listed: %s", place.environment_id, stack.name, what)
        at = base.now().isoformat(timespec="seconds")
        return Look(place=place, failure=f"what it has could not be listed at {at}Z: {what}")
    return Look(place=place, holdings=holdings, seen=seen, left=left, vanished=vanished)


def _seen(stack: ports.Stack, holdings: ports.Holdings, policies: Policies) -> list[resources.Seen]:
    """The stack and all that it has, as the receipt has them."""
    itself = resources.Seen(
        physical_id=holdings.id,
        name=stack.name,
        type=resources.STACK,
        policy=resources.DELETE,
        trouble=_told(holdings.reason) if holdings.status.endswith("FAILED") else None,
    )
    return [
        itself,
        *(
            resources.Seen(
                physical_id=each.id,
                name=each.name,
                type=each.type,
                policy=each.policy or policies.of(each),
                trouble=_told(each.reason),
            )
            for each in holdings.resources
        ),
    ]


class Policies:
    """Deletion policies as a template and the nested templates among its files say them."""

    def __init__(
        self,
        template: Mapping[str, Any],
        files: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self._template = template
        self._files = files or {}
        self._parameters = parameters or {}
        self._nested: dict[str, Any] = {}

    def of(self, resource: ports.Held) -> str | None:
        """A resource's policy; None where its template is not known, so that what was known before stays."""
        template = self._template if resource.parent_type is None else self._of_type(resource.parent_type)
        resources_ = template.get("resources") if isinstance(template, Mapping) else None
        written = resources_.get(resource.name.rpartition("/")[2]) if isinstance(resources_, Mapping) else None
        if not isinstance(written, Mapping):
            return None
        policy = written.get("deletion_policy", resources.DELETE)
        if isinstance(policy, Mapping) and resource.parent_type is None:
            policy = self._parameter(policy.get("get_param"))
        policy = str(policy).lower()
        return policy if policy in resources.POLICIES else resources.DELETE

    def _parameter(self, name: Any) -> Any:
        section = self._template.get("parameters")
        declared = section.get(name) if isinstance(section, Mapping) and isinstance(name, str) else None
        if not isinstance(declared, Mapping):
            return None
        return self._parameters.get(name, declared.get("default"))

    def _of_type(self, type_name: str) -> Any:
        if type_name not in self._nested:
            name = type_name if type_name in self._files else type_name.rpartition("/")[2]
            try:
                self._nested[type_name] = yaml.safe_load(str(self._files.get(name, "")))
            except (yaml.YAMLError, ValueError, RecursionError):
                self._nested[type_name] = None
        return self._nested[type_name]


def place_of(performer: effects.Performer, effect: dsl.Effect) -> tuple[ports.Stack, resources.Place]:
    """The stack that an effect is about, and where the receipt has it."""
    stack = performer.stack(effect)
    return stack, resources.Place(
        environment_id=performer.context.environment_id,
        project_id=performer.context.project_id,
        deployment_id=performer.context.deployment_id,
        region=stack.region_name or "",
        stack=stack.name,
    )


def place_of_row(row: resources.CloudResource, deployment_id: str | None = None) -> resources.Place:
    """Where the receipt has what a row is of."""
    return resources.Place(
        environment_id=row.environment_id,
        project_id=row.project_id,
        deployment_id=deployment_id,
        region=row.region,
        stack=row.stack,
    )


def stack_of_row(row: resources.CloudResource, tags: tuple[str, ...] = ()) -> ports.Stack:
    """The stack that a row of the receipt is of."""
    return ports.Stack(
        name=row.stack,
        project_id=row.project_id,
        region_name=row.region or None,
        environment_id=row.environment_id,
        tags=tags,
    )


def _made(context: effects.Context, name: str, arguments: Mapping[str, Any], outcome: Any) -> Iterator[Rows]:
    """What effects make outside of stacks."""
    place = resources.Place(
        environment_id=context.environment_id,
        project_id=context.project_id,
        deployment_id=context.deployment_id,
        region=str(arguments.get("region") or ""),
    )

    def row(type_name: str, physical_id: Any, called: Any, kept: str | None) -> Rows:
        seen = resources.Seen(physical_id=str(physical_id), name=str(called), type=type_name)
        return lambda session: resources.made(session, place, seen, kept=kept)

    if name == "network.create_router" and isinstance(outcome, Mapping):
        yield row("OS::Neutron::Router", outcome["id"], outcome.get("name"), SHARED_ROUTER)
    elif name == "mistral.upload":
        for workflow in _workflows(str(arguments["definition"])):
            yield row("OS::Mistral::Workflow", workflow, workflow, SHARED_WORKFLOW)
    elif name == "agent.register" and isinstance(outcome, Mapping) and isinstance(outcome.get("broker"), Mapping):
        broker = outcome["broker"]
        yield row(VHOST, broker["virtual_host"], broker["virtual_host"], None)
        yield row(BROKER_USER, broker["login"], broker["login"], None)


def _told(reason: str | None) -> str | None:
    """A cloud's reason without the secrets that it may have been given."""
    return None if reason is None else masking.masked_text(reason)


def _workflows(definition: str) -> list[str]:
    """The names of the workflows that a definition in Mistral's language has."""
    try:
        document = yaml.safe_load(definition)
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    return [str(name) for name in document if name != "version"] if isinstance(document, dict) else []
