"""An environment's pages: what runs there, what happens right now, and the actions its applications offer."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pecan

from dashboard import api, arguments, composition, rendering
from dashboard.controllers import forms, visitor


class EnvironmentsController:
    """``/dashboard/environments``."""

    def __init__(self, visitors: visitor.Visitors) -> None:
        self._visitors = visitors

    @pecan.expose()
    def index(self, **_ignored: Any) -> str:
        """They are listed on the overview."""
        return forms.see_other("/")

    @pecan.expose()
    def create(self, name: Any = "", **_ignored: Any) -> str:
        """Create an empty environment; a name that is refused is asked for again."""
        forms.only_post()
        caller = self._visitors.current()
        wanted = forms.text(name).strip()
        try:
            created = caller.api.post("/environments", {"name": wanted})
        except api.Refused as refused:
            if refused.status not in (400, 409):
                raise
            pecan.response.status = refused.status
            return overview(caller, name=wanted, message=refused.message)
        return forms.see_other("/environments" + api.path(created["id"]) + "/")

    @pecan.expose()
    def _lookup(self, environment_id: str, *remainder: str) -> tuple[object, tuple[str, ...]]:
        return EnvironmentController(self._visitors, environment_id), remainder


class EnvironmentController:
    """``/dashboard/environments/{id}``."""

    def __init__(self, visitors: visitor.Visitors, environment_id: str) -> None:
        self._visitors = visitors
        self._path = "/environments" + api.path(environment_id)
        self.deployments = DeploymentsController(visitors, self._path)

    @pecan.expose()
    def index(self, cancelled: Any = "", **_ignored: Any) -> str:
        """Applications, topology, reports of the newest deployment, and the earlier ones."""
        caller = self._visitors.current()
        graph = caller.api.get(f"{self._path}/topology")
        deployments = composition.named(caller.api.get(f"{self._path}/deployments")["deployments"], graph)
        newest = deployments[0] if deployments else None
        return rendering.render(
            "environment.html",
            environment=caller.api.get(self._path),
            deployments=deployments,
            deployment=newest,
            reports=_reports(caller, self._path, newest["id"]) if newest else [],
            applications=composition.applications(graph),
            tree=composition.tree(graph),
            cancelled=newest is not None and newest["id"] == cancelled,
            simulated=caller.simulated,
            login=caller.login,
            notice=caller.notice,
        )

    @pecan.expose("json")
    def topology(self, **_ignored: Any) -> dict[str, Any]:
        """The graph for the browser's renderer."""
        return dict(self._visitors.current().api.get(f"{self._path}/topology"))

    @pecan.expose()
    def deploy(self, **_ignored: Any) -> str:
        """Deploy what the environment holds."""
        forms.only_post()
        caller = self._visitors.current()
        session = caller.api.post(f"{self._path}/configure")["id"]
        caller.api.post(f"{self._path}/sessions/{session}/deploy")
        return forms.see_other(f"{self._path}/")

    @pecan.expose()
    def act(self, action: Any = "", given: Any = "", **_ignored: Any) -> str:
        """Run an action with the arguments that were typed (`dashboard.arguments`)."""
        forms.only_post()
        caller = self._visitors.current()
        try:
            values = arguments.parse(forms.text(given))
        except arguments.Mistake as mistake:
            raise api.Refused(400, str(mistake)) from None
        caller.api.post(f"{self._path}/actions" + api.path(forms.text(action)), values)
        return forms.see_other(f"{self._path}/")

    @pecan.expose()
    def delete(self, **_ignored: Any) -> str:
        """Ask whether it is meant (GET), then delete the environment and everything it deployed (POST)."""
        caller = self._visitors.current()
        if pecan.request.method != "POST":
            graph = caller.api.get(f"{self._path}/topology")
            environment = caller.api.get(self._path)
            tree = composition.tree(graph)
            return rendering.render("delete.html", environment=environment, tree=tree, login=caller.login)
        caller.api.delete(self._path)
        return forms.see_other("/")

    @pecan.expose(content_type="text/event-stream")
    def events(self, deployment: Any = "", **_ignored: Any) -> None:
        """The reports of a deployment as they happen."""
        caller = self._visitors.current()
        last = pecan.request.headers.get("Last-Event-ID")
        path = f"{self._path}/deployments{api.path(forms.text(deployment))}/events"
        pecan.response.cache_control = "no-store"
        pecan.response.app_iter = caller.api.events(path, last)


class DeploymentsController:
    """``/dashboard/environments/{id}/deployments``."""

    def __init__(self, visitors: visitor.Visitors, path: str) -> None:
        self._visitors = visitors
        self._path = path

    @pecan.expose()
    def _lookup(self, deployment_id: str, *remainder: str) -> tuple[object, tuple[str, ...]]:
        return DeploymentController(self._visitors, self._path, deployment_id), remainder


class DeploymentController:
    """``/dashboard/environments/{id}/deployments/{id}``."""

    def __init__(self, visitors: visitor.Visitors, path: str, deployment_id: str) -> None:
        self._visitors = visitors
        self._environment = path
        self._deployment_id = deployment_id
        self._path = f"{path}/deployments{api.path(deployment_id)}"

    @pecan.expose()
    def index(self, **_ignored: Any) -> str:
        """One deployment: its reports and its result."""
        caller = self._visitors.current()
        graph = caller.api.get(f"{self._environment}/topology")
        found = composition.named(caller.api.get(f"{self._environment}/deployments")["deployments"], graph)
        deployment = next((each for each in found if each["id"] == self._deployment_id), None)
        if deployment is None:
            raise api.Refused(404, "The environment has no such deployment.")
        return rendering.render(
            "deployment.html",
            environment=caller.api.get(self._environment),
            deployment=deployment,
            reports=_reports(caller, self._environment, self._deployment_id),
            login=caller.login,
        )

    @pecan.expose()
    def cancel(self, **_ignored: Any) -> str:
        """End it at its next step."""
        forms.only_post()
        self._visitors.current().api.post(f"{self._path}/cancel")
        return forms.see_other(f"{self._environment}/?cancelled={urllib.parse.quote(self._deployment_id)}")


def overview(caller: visitor.Visitor, *, name: str = "", message: str = "") -> str:
    """Environments and some of the catalog; `name` and `message` are of an environment that could not be created."""
    found = caller.api.get("/environments")["environments"]
    packages = caller.api.get("/catalog/packages", catalog="true", type="Application", limit="8")["packages"]
    return rendering.render(
        "overview.html",
        environments=sorted(found, key=lambda item: item["updated"], reverse=True),
        packages=packages,
        name=name,
        message=message,
        login=caller.login,
        notice=caller.notice,
    )


def _reports(caller: visitor.Visitor, path: str, deployment_id: str) -> list[dict[str, Any]]:
    return list(caller.api.get(f"{path}/deployments{api.path(deployment_id)}")["reports"])
