"""The catalog's pages: what there is, one package, its logo."""

from __future__ import annotations

from typing import Any

import markupsafe
import pecan

from dashboard import api, rendering
from dashboard.controllers import forms, visitor

# What the catalog accepts as a logo, by its first bytes; anything else is not shown.
LOGO_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


class CatalogController:
    """``/dashboard/catalog``."""

    def __init__(self, visitors: visitor.Visitors) -> None:
        self._visitors = visitors

    @pecan.expose()
    def index(self, search: Any = "", category: Any = "", **_ignored: Any) -> str:
        """Cards of all applications, filtered by words and category. htmx asks for the cards alone."""
        caller = self._visitors.current()
        query = {"catalog": "true", "type": "Application", "limit": "100"}
        search, category = forms.text(search), forms.text(category)
        query |= {key: value for key, value in (("search", search), ("category", category)) if value}
        packages = caller.api.get("/catalog/packages", **query)["packages"]
        values = {"packages": packages, "search": search, "chosen": category, "login": caller.login}
        if pecan.request.headers.get("HX-Request"):
            return rendering.render("catalog_cards.html", **values)
        categories = caller.api.get("/catalog/categories")["categories"]
        return rendering.render("catalog.html", categories=categories, **values)

    @pecan.expose()
    def _lookup(self, package_id: str, *remainder: str) -> tuple[object, tuple[str, ...]]:
        return PackageController(self._visitors, package_id), remainder


class PackageController:
    """``/dashboard/catalog/{id}``."""

    def __init__(self, visitors: visitor.Visitors, package_id: str) -> None:
        self._visitors = visitors
        self._path = "/catalog/packages" + api.path(package_id)

    @pecan.expose()
    def index(self, **_ignored: Any) -> str:
        """One package and what it requires."""
        caller = self._visitors.current()
        package = caller.api.get(self._path)
        dependencies = caller.api.get(f"{self._path}/dependencies")
        return rendering.render("package.html", package=package, tree=dependencies["tree"], login=caller.login)

    @pecan.expose(content_type="image/png")
    def logo(self, initial: Any = "", hue: Any = "", **_ignored: Any) -> bytes:
        """The package's logo; for a package that has none, one drawn of its initial."""
        caller = self._visitors.current()
        try:
            content = caller.api.raw(f"{self._path}/logo")
        except api.Refused as refused:
            if refused.status == 401:
                raise
            content = b""
        kind = next((kind for magic, kind in LOGO_TYPES.items() if content.startswith(magic)), None)
        if kind is None:
            kind, content = "image/svg+xml", _drawn(forms.text(initial), forms.text(hue))
        pecan.override_template(None, content_type=kind)
        pecan.response.cache_control = "private, max-age=3600"
        return content


def _drawn(initial: str, hue: str) -> bytes:
    """A letter on a coloured ground, as an SVG image."""
    angle = int(hue) % 12 * 30 if hue.isascii() and hue.isdigit() and len(hue) < 4 else 190
    letter = markupsafe.escape(initial[:1])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" '
        f'fill="hsl({angle} 45% 32%)"/><text x="24" y="31" text-anchor="middle" fill="#fff" font-size="21" '
        f'font-weight="700" font-family="system-ui, sans-serif">{letter}</text></svg>'
    ).encode()
