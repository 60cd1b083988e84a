"""A trust for what a request asks the engine to do: the environment's own, or a new one from the request's token.

Keystone is asked before a transaction begins, so that no row is locked while it answers; a trust that was made for what
did not come about is removed again. With `[engine] use_trusts` off, or the embedded identity, there are none.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import orm

from catalog import trusts
from catalog.api import errors
from catalog.api.request import Request
from catalog.db.environments import Environment

QUESTION = 600  # seconds after which a trust that was made for a question ends by itself


@dataclasses.dataclass(frozen=True)
class Lent:
    """The trust of a submission. `before` is what the environment had when Keystone was asked."""

    trust_id: str
    before: str | None


@contextlib.contextmanager
def for_submission(request: Request, ready: Callable[[orm.Session], Environment]) -> Iterator[Lent | None]:
    """The trust that a deployment of an environment will work with; None where trusts are not used.

    `ready` finds the environment and raises what stands against the submission: then nobody lends anything. Raises
    `errors.Forbidden`, `errors.Unavailable` where there is no trust to be had.
    """
    service = request.services.trusts
    if service is None:
        yield None
        return
    with request.database.reading() as session:
        environment = ready(session)
        before, project_id = trusts.trust_of(environment.model), environment.project_id
    with _errors():
        if before is not None and service.work(before, project_id):
            made = None
        else:
            made = _made(request, service, project_id)
    try:
        yield Lent(made or str(before), before)
    except BaseException:
        if made is not None:
            service.remove(made)
        raise
    if made is not None and before is not None:
        service.remove(before)


def keep(environment: Environment, content: dict[str, Any], lent: Lent | None) -> dict[str, Any]:
    """The model to deploy with the trust in it, which becomes the environment's too, so that it goes with it.

    Raises `errors.Conflict` when somebody else has given the environment a trust meanwhile.
    """
    found = trusts.trust_of(environment.model)
    if lent is None:
        return content if found == trusts.trust_of(content) else trusts.with_trust(content, found)
    if found != lent.before:
        raise errors.Conflict(f"Environment {environment.id} was deployed by somebody else meanwhile. Repeat it.")
    if found != lent.trust_id:
        environment.model = trusts.with_trust(environment.model, lent.trust_id)
    return trusts.with_trust(content, lent.trust_id)


def give_back(request: Request, trust_id: str | None) -> None:
    """Ends the trust of an environment that is gone, as well as that can be done."""
    if trust_id is not None and request.services.trusts is not None:
        request.services.trusts.remove(trust_id)


@contextlib.contextmanager
def for_question(request: Request, project_id: str, kept: str | None = None) -> Iterator[str | None]:
    """A trust to look at a project's cloud with while one question is answered: `kept`, or one for the time being.

    None where trusts are not used, and for administrators of another project: they have no rights there to lend.
    Raises `errors.Forbidden`, `errors.Unavailable`.
    """
    service = request.services.trusts
    if service is None:
        yield None
        return
    with _errors():
        if kept is not None and service.work(kept, project_id):
            made = None
        elif request.caller.project_id != project_id:
            made, kept = None, None
        else:
            made = _made(request, service, project_id, seconds=QUESTION)
    try:
        yield made or kept
    finally:
        if made is not None:
            service.remove(made)


@contextlib.contextmanager
def for_search(request: Request, project_id: str, *, ends: bool = True) -> Iterator[str | None]:
    """A trust to look with for what environments that are gone have left; None where there is none to be had.

    The engine has others to try. With `ends` off it is left to end by itself, after QUESTION seconds.
    """
    service = request.services.trusts
    if service is None or request.caller.project_id != project_id:
        yield None
        return
    made: str | None = None
    with contextlib.suppress(trusts.Refused, trusts.Away):
        made = _made(request, service, project_id, seconds=QUESTION)
    try:
        yield made
    finally:
        if made is not None and ends:
            service.remove(made)


def _made(request: Request, service: trusts.Trusts, project_id: str, seconds: int | None = None) -> str:
    caller = request.caller
    if caller.project_id != project_id:
        raise errors.Forbidden(
            f"The environment is in project {project_id}, and there is no trust that works for it: expected a user of "
            f"that project, found one of {caller.project_id}. Log in to {project_id}."
        )
    return service.make(caller.token, caller.user_id, project_id, _roles(request), seconds=seconds)


def _roles(request: Request) -> list[dict[str, str]]:
    """All roles of the token, by their ids as keystonemiddleware was told them: names may be of several domains."""
    info: Mapping[str, Any] = request.web.environ.get("keystone.token_info") or {}
    known = (info.get("token") or {}).get("roles") or []
    return [{"id": role["id"]} for role in known] or [{"name": role} for role in request.caller.roles]


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except trusts.Refused as failure:
        raise errors.Forbidden(str(failure)) from failure
    except trusts.Away as failure:
        raise errors.Unavailable(f"{failure} Repeat the request in a while.") from failure
