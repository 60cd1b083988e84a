"""The end of a deployment, in one transaction: model, result, session, reports (spec/engine-flow §3, §5).

A deployment always ends here, with its result or with the reason of its failure, and all of it or nothing is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import (
    agents,
    base,
    deployments,
    environments,
    journal,
    masking,
    outputs,
    resources,
    sessions,
    statuses,
)
from engine import effects, models, notices, traces


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """A reason of failure. `details` is a trace or the like, for those who look deeper; `about` says where it was."""

    message: str
    details: str | None = None
    entity_id: str | None = None
    about: statuses.About = statuses.NOTHING

    def veiled(self, veil: masking.Veil) -> Complaint:
        """Without secrets."""
        details = None if self.details is None else veil.text(self.details)
        return dataclasses.replace(self, message=veil.text(self.message), details=details)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a deployment ended. `model` is what the program left, None if it left nothing worth keeping; `looks` are for
    the receipt.

    `places` are keys of the effects at which it went wrong, `refused` is why no retry can help: for one that failed.
    `untouched`: it never began, and everything is as it was before it was asked for.
    """

    value: Any = None
    complaints: Sequence[Complaint] = ()
    warnings: Sequence[Complaint] = ()
    model: Mapping[str, Any] | None = None
    looks: Sequence[traces.Look] = ()
    places: frozenset[str] = frozenset()
    refused: str | None = None
    untouched: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.complaints)

    def veiled(self, veil: masking.Veil) -> Ending:
        """Without secrets, but for the value, which is what was asked for."""
        return dataclasses.replace(
            self,
            complaints=tuple(each.veiled(veil) for each in self.complaints),
            warnings=tuple(each.veiled(veil) for each in self.warnings),
            looks=tuple(each.veiled(veil) for each in self.looks),
            refused=None if self.refused is None else veil.text(self.refused),
        )

    def result(self) -> dict[str, Any]:
        """`{"result", "isException"}` as API v1 shows it."""
        if not self.complaints:
            return {"result": self.value, "isException": False}
        first = self.complaints[0]
        details = None if first.details is None else statuses.shortened(first.details, statuses.LONGEST_DETAILS)
        return {"result": {"message": statuses.shortened(first.message), "details": details}, "isException": True}


def close(session: orm.Session, deployment_id: str, ending: Ending, *, told: bool = False) -> None:
    """Writes the ending, and with `told` a notice of it for other services. The caller holds the lease in this
    transaction. An environment that is gone stays gone.
    """
    deployment = session.get_one(deployments.Deployment, deployment_id)
    environments.lock(session, deployment.environment_id)
    environment = environments.get(session, deployment.environment_id)
    if environment is None:
        return
    for look in ending.looks:
        look.write(session)
    for key in journal.under_way(session, deployment_id, "agent.run"):  # nobody waits for what would come of it
        plan = agents.withdraw(session, effects.plan_id_of(deployment_id, key))
        if plan is not None:
            outputs.end(session, plan)
    for level, complaint in _told(ending):
        statuses.add(
            session,
            deployment_id,
            environment.id,
            text=complaint.message,
            level=level,
            entity_id=complaint.entity_id or environment.id,
            details=complaint.details,
            about=complaint.about,
        )
    levels = statuses.levels(session, [deployment_id])[deployment_id]
    failed = ending.failed or levels.get("error", 0) > 0
    if told:
        failure = _failure(session, deployment_id, ending) if failed else None
        notices.ended(session, deployment, environment, failure)
    if deployment.kind == "delete" and not failed:
        resources.end(
            session,
            environment_id=environment.id,
            project_id=environment.project_id,
            name=environment.name,
            user_id=deployment.user_id,
            how=resources.DELETED,
            notes=[_note(warning) for warning in ending.warnings],
        )
        session.delete(environment)
        return
    finished = base.now()
    began = deployment.started or deployment.created
    about = statuses.About(step="end", duration=max(0.0, (finished - began).total_seconds()))
    text = "Nothing was deployed" if ending.untouched else _closing_text(deployment.kind, failed, levels)
    if ending.untouched:
        _take_back(session, deployment)
    else:
        _settle(session, deployment, environment, ending, failed)
    statuses.add(session, deployment_id, environment.id, text=text, about=about)
    deployment.state = deployments.FINISHED
    deployment.finished = finished
    deployment.result = ending.result()
    deployment.failure = _failure_to_keep(session, deployment, ending) if failed else None
    deployment.owner = None
    deployment.lease_expires = None
    session.flush()


def _told(ending: Ending) -> Iterator[tuple[str, Complaint]]:
    yield from (("error", each) for each in ending.complaints)
    yield from (("warning", each) for each in ending.warnings)


def _note(warning: Complaint) -> dict[str, Any]:
    return {"object_id": warning.entity_id, "message": warning.message, "details": warning.details}


def _take_back(session: orm.Session, deployment: deployments.Deployment) -> None:
    """The session is as before the deployment; one that was opened for an action or a deletion alone is gone."""
    for row in session.scalars(_sessions_of(deployment)):
        if deployment.kind == "deploy":
            row.state = sessions.OPENED
        else:
            session.delete(row)


def _settle(
    session: orm.Session,
    deployment: deployments.Deployment,
    environment: environments.Environment,
    ending: Ending,
    failed: bool,
) -> None:
    """The environment is what the deployment left, and its sessions say how it went."""
    if deployment.kind != "delete":  # a deletion that failed leaves the model, for another try
        environment.model = _model_to_keep(deployment, ending)
    environment.version += 1
    for row in session.scalars(_sessions_of(deployment)):
        row.state = _state(row.state, failed)


def _failure(session: orm.Session, deployment_id: str, ending: Ending) -> str:
    """Why the deployment failed: what the engine has to complain about, else the first error the package reported."""
    if ending.complaints:
        return ending.complaints[0].message
    return next(
        (row.text for row in statuses.of_deployment(session, deployment_id) if row.level == "error"),
        "an error was reported",
    )


def _failure_to_keep(session: orm.Session, deployment: deployments.Deployment, ending: Ending) -> dict[str, Any]:
    """What a retry has to know."""
    return {
        "places": sorted(ending.places),
        "effects": journal.count(session, deployment.id),
        "refused": ending.refused,
        "stacks": list((deployment.failure or {}).get("stacks") or ()),
    }


def _model_to_keep(deployment: deployments.Deployment, ending: Ending) -> dict[str, Any]:
    if ending.model is None:  # what was composed is not lost because it could not be deployed
        return deployment.model
    return models.for_catalog(deployment.model, ending.model, deployment.lock)


def _closing_text(kind: str, failed: bool, levels: Mapping[str, int]) -> str:
    text = "Deletion finished" if kind == "delete" else "Deployment finished"
    if failed:
        return f"{text} with errors"
    if levels.get("warning", 0) > 0:
        return f"{text} with warnings"
    return text


def _sessions_of(deployment: deployments.Deployment) -> sa.Select[sessions.Session]:
    busy = sa.select(sessions.Session).where(
        sessions.Session.environment_id == deployment.environment_id,
        sessions.Session.state.in_(environments.BUSY),
    )
    if deployment.session_id is None:
        return busy
    return busy.where(sessions.Session.id == deployment.session_id)


def _state(state: str, failed: bool) -> str:
    if not failed:
        return sessions.DEPLOYED
    return sessions.DELETE_FAILURE if state == sessions.DELETING else sessions.DEPLOY_FAILURE
