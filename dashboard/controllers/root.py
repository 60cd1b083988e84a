"""The root of the pages: overview, login and logout. Everything else hangs below it."""

from __future__ import annotations

from typing import Any

import pecan

from dashboard import api, rendering, security
from dashboard.configuration import Configuration
from dashboard.controllers import catalog, environments, forms, repositories, visitor


class RootController:
    """``/dashboard/``."""

    def __init__(self, configuration: Configuration, sealer: security.Sealer) -> None:
        self._configuration = configuration
        self._sealer = sealer
        visitors = visitor.Visitors(configuration, sealer)
        self._visitors = visitors
        self.catalog = catalog.CatalogController(visitors)
        self.repositories = repositories.RepositoriesController(visitors)
        self.environments = environments.EnvironmentsController(visitors)

    @pecan.expose()
    def index(self) -> str:
        """Environments and some of the catalog."""
        return environments.overview(self._visitors.current())

    @pecan.expose(generic=True)
    def login(self, **query: Any) -> str:
        """The login form."""
        return self._login_page(next=query.get("next", ""), message="")

    @login.when(method="POST")
    def log_in(self, username: str = "", password: str = "", project: str = "", **form: Any) -> str:
        """Log in, and go where the visitor wanted to go."""
        wanted = form.get("next", "")
        try:
            login = api.log_in(self._configuration.auth_url, username, password, project)
        except api.Refused as refused:
            pecan.response.status = 401 if refused.status == 401 else 400
            return self._login_page(next=wanted, message="User, password or project is wrong.", username=username)
        sealed = self._sealer.seal({"token": login.token, "user": login.user, "project": login.project})
        # Only a path below the mount: a login must not send anybody to another site.
        inside = wanted.startswith(f"{rendering.MOUNT}/") and "//" not in wanted and "\\" not in wanted
        answer = pecan.response
        answer.set_cookie(
            security.COOKIE,
            sealed,
            path=rendering.MOUNT,
            max_age=security.LIFETIME_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=pecan.request.scheme == "https",
        )
        return forms.see_other(wanted.removeprefix(rendering.MOUNT) if inside else "/")

    @pecan.expose()
    def logout(self) -> str:
        """Forget the session."""
        forms.only_post()
        pecan.response.delete_cookie(security.COOKIE, path=rendering.MOUNT)
        return forms.see_other("/login")

    def _login_page(self, *, next: str, message: str, username: str = "") -> str:
        return rendering.render(
            "login.html",
            next=next,
            message=message,
            username=username,
            notice=self._configuration.notice,
            login=None,
        )
