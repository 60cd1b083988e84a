"""Import by name: search the community repositories, see what would come, import it."""

from __future__ import annotations

from typing import Any

import pecan

from dashboard import api, rendering
from dashboard.controllers import forms, visitor


class RepositoriesController:
    """``/dashboard/repositories``."""

    def __init__(self, visitors: visitor.Visitors) -> None:
        self._visitors = visitors

    @pecan.expose()
    def index(self, query: Any = "", **_ignored: Any) -> str:
        """What the repositories have, filtered by words. htmx asks for the list alone."""
        caller = self._visitors.current()
        wanted = forms.text(query)
        found = caller.api.get("/catalog/repositories/search", query=wanted)
        values = {**found, "query": wanted, "login": caller.login}
        if pecan.request.headers.get("HX-Request"):
            return rendering.render("repositories_list.html", **values)
        repositories = caller.api.get("/catalog/repositories")["repositories"]
        return rendering.render("repositories.html", repositories=repositories, **values)

    @pecan.expose()
    def preview(self, name: Any = "", version: Any = "", **_ignored: Any) -> str:
        """What an import would bring. It is asked for by POST because the service fetches the archives for it."""
        forms.only_post()
        caller = self._visitors.current()
        body = {**_body(name, version), "preview": True}
        return rendering.render(
            "import.html",
            name=body["name"],
            version=forms.text(version),
            packages=caller.api.post("/catalog/imports", body)["packages"],
            categories=caller.api.get("/catalog/categories")["categories"],
            login=caller.login,
        )

    @pecan.expose()
    def bring(self, name: Any = "", version: Any = "", category: Any = "", **_ignored: Any) -> str:
        """Import, then show the package."""
        forms.only_post()
        caller = self._visitors.current()
        body = _body(name, version)
        if forms.text(category):
            body["categories"] = [category]
        done = caller.api.post("/catalog/imports", body)["packages"]
        imported = next(each for each in done if each["fqn"] == body["name"])
        return forms.see_other("/catalog" + api.path(imported["id"]) + "/")


def _body(name: Any, version: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"name": forms.text(name)}
    if forms.text(version):
        body["version"] = f"={version}"
    return body
