"""The configured community repositories, and what is in them (docs/architecture.md, "Additions")."""

from __future__ import annotations

import urllib.parse
from typing import Any

from catalog.api.request import Request, check_text
from catalog.db import packages as stored

MOST = 200  # packages in the answer to a search


def list_all(request: Request) -> Any:
    """GET /catalog/repositories, in the order of their priority."""
    request.authorize("get_repository")
    found = request.services.repositories.repositories
    return {
        "repositories": [
            {"name": each.name, "location": _shown(each.location), "signed": each.signed is not None} for each in found
        ]
    }


def search(request: Request) -> Any:
    """GET /catalog/repositories/search?query=words: packages that have all of the words, best matches first."""
    request.authorize("get_repository")
    query = check_text(request.params.get("query", ""), "query")[:200]
    found = request.services.repositories.search(query)
    entries = list(found.entries)[:MOST]
    with request.database.reading() as session:
        names = {entry.fqn for entry in entries}
        rows = stored.versions_visible(session, request.caller.project_id, names)
        present = {(row.fully_qualified_name, row.version) for row in rows}
    listed = [
        {
            "fqn": entry.fqn,
            "name": entry.name,
            "version": entry.version,
            "type": entry.type,
            "author": entry.author,
            "description": entry.description,
            "tags": list(entry.tags),
            "require": dict(entry.require),
            "repository": entry.repository,
            "imported": (entry.fqn, entry.version) in present,
        }
        for entry in entries
    ]
    unavailable = [{"repository": name, "reason": reason} for name, reason in found.unavailable]
    return {"packages": listed, "unavailable": unavailable}


def _shown(location: str) -> str:
    """A location without the user and password an operator may have put in it, and without folders of the server."""
    if not location.startswith(("http://", "https://")):
        return "a directory of the service"
    parts = urllib.parse.urlsplit(location)
    host = parts.hostname or ""
    return urllib.parse.urlunsplit(parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}"))
