"""The part of Keystone's v3 API that clients need: log in with a password or a token, look at tokens and projects.

A WSGI application mounted at `/identity`. Errors are Keystone's: `{"error": {"code", "title", "message"}}`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Callable
from typing import Any

import webob
from oslo_config import cfg
from sqlalchemy import orm

from catalog.api import bodies, errors
from catalog.api.routing import decoded_path
from catalog.db import identity
from catalog.db.base import Database
from catalog.identity import catalog, passwords, tokens

BODY_LIMIT = 64 << 10
VERSION = "v3.14"
UPDATED = "2020-04-07T00:00:00Z"


@dataclasses.dataclass(frozen=True)
class Call:
    """One call: the request, the database session, and what the path names."""

    web: webob.Request
    session: orm.Session
    root: str
    name: str


class Identity:
    """The WSGI application."""

    def __init__(self, conf: cfg.ConfigOpts, database: Database) -> None:
        self._conf = conf
        self._options = conf.identity
        self._database = database
        self._failures = passwords.Failures(self._options.failures, self._options.failure_window)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        web = webob.Request(environ)
        try:
            answer = self._answer(web)
        except errors.ApiError as error:
            shown = {"code": error.status.value, "title": error.status.phrase, "message": error.explanation}
            answer = _json({"error": shown}, error.status.value)
            answer.headers.update(error.headers)
        if web.method == "HEAD":
            answer.body = b""
        answer.headers["Vary"] = "X-Auth-Token"
        return answer(environ, start_response)

    def _answer(self, web: webob.Request) -> webob.Response:
        root = catalog.root_url(self._conf, web.environ)
        path = decoded_path(web.environ).rstrip("/")
        if path == "":
            return _json({"versions": {"values": [_version(root)]}}, 300)
        if path == "/v3":
            return _json({"version": _version(root)})
        if path == "/v3/auth/tokens" and web.method == "POST":
            return self._log_in(web, root)
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and (web.method == method or (web.method == "HEAD" and method == "GET")):
                work = self._database.reading if method == "GET" else self._database.transaction
                with work() as session:
                    return handler(self, Call(web, session, root, match[1] if match.groups() else ""))
        raise errors.NotFound(f"{web.method} {path}: the embedded identity has no such resource")

    # --- logging in --------------------------------------------------------------------------------------------------

    def _log_in(self, web: webob.Request, root: str) -> webob.Response:
        bodies.read(web, BODY_LIMIT)
        auth = _object(bodies.parse(web.body), "auth")
        who = _object(auth, "identity")
        methods = who.get("methods")
        if methods == ["password"]:
            user_id, expires = self._by_password(web, _object(_object(who, "password"), "user")), None
        elif methods == ["token"]:
            user_id, expires = self._by_token(_text(_object(who, "token"), "id"))
        else:
            raise errors.Unauthorized('Method: expected ["password"] or ["token"]')
        with self._database.transaction() as session:
            user = identity.user(session, id=user_id)
            if user is None or not user.enabled:
                raise _not_you()
            project = _scope(session, user, auth.get("scope"))
            text, login = tokens.issue(session, user, project, list(methods), self._options.token_lifetime, expires)
            answer = _json({"token": self._shown(login, root)}, 201)
        answer.headers["X-Subject-Token"] = text
        return answer

    def _by_password(self, web: webob.Request, wanted: dict[str, Any]) -> str:
        """The id of the user whose password this is; slow hashing happens outside of any transaction."""
        password = _text(wanted, "password", passwords.LONGEST)
        by = {key: _text(wanted, key) for key in ("id", "name") if key in wanted}
        if not by:
            raise errors.BadRequest("User: expected an id or a name")
        if "id" not in by:
            _check_domain(wanted.get("domain"))
        name = by.get("id") or by["name"]
        address = web.remote_addr or ""
        wait = self._failures.wait(name, address)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise errors.TooManyRequests(f"Too many failed logins. Wait {seconds} s.", headers={"Retry-After": seconds})
        with self._database.reading() as session:
            user = identity.user(session, **{"id": by["id"]} if "id" in by else {"name": by["name"]})
        if not passwords.matches(password, user.password_hash if user and user.enabled else None) or user is None:
            self._failures.note(name, address)
            raise _not_you()
        self._failures.forget(name, address)
        return user.id

    def _by_token(self, text: str) -> tuple[str, datetime.datetime]:
        with self._database.reading() as session:
            login = tokens.look_up(session, text)
        if login is None:
            raise _not_you()
        return login.user.id, login.expires

    # --- everything else needs a token -------------------------------------------------------------------------------

    def show_token(self, call: Call) -> webob.Response:
        """GET and HEAD /v3/auth/tokens."""
        text, login = _subject(call)
        answer = _json({"token": self._shown(login, call.root)})
        answer.headers["X-Subject-Token"] = text
        return answer

    def revoke_token(self, call: Call) -> webob.Response:
        """DELETE /v3/auth/tokens."""
        tokens.revoke(call.session, _subject(call)[1])
        return webob.Response(status=204)

    def own_projects(self, call: Call) -> webob.Response:
        """GET /v3/auth/projects and /v3/users/{own id}/projects."""
        login = _login(call)
        if call.name and call.name != login.user.id:
            _check_admin(login)
        found = identity.projects_of(call.session, call.name or login.user.id)
        return _json({"projects": [_project(row, call.root) for row in found], "links": _links(call)})

    def own_catalog(self, call: Call) -> webob.Response:
        """GET /v3/auth/catalog."""
        _login(call)
        return _json({"catalog": catalog.services(call.root, self._options.region), "links": _links(call)})

    def projects(self, call: Call) -> webob.Response:
        """GET /v3/projects: the caller's own, filtered by `name`."""
        login = _login(call)
        found = identity.projects_of(call.session, login.user.id)
        name = call.web.GET.get("name")
        shown = [_project(row, call.root) for row in found if name in (None, row.name)]
        return _json({"projects": shown, "links": _links(call)})

    def project(self, call: Call) -> webob.Response:
        """GET /v3/projects/{id}, of the caller's own."""
        login = _login(call)
        for row in identity.projects_of(call.session, login.user.id):
            if row.id == call.name:
                return _json({"project": _project(row, call.root)})
        raise errors.NotFound(f"Could not find project: {call.name}.")

    def user(self, call: Call) -> webob.Response:
        """GET /v3/users/{id}: oneself, or anybody for administrators."""
        login = _login(call)
        if call.name != login.user.id:
            _check_admin(login)
        row = identity.user(call.session, id=call.name)
        if row is None:
            raise errors.NotFound(f"Could not find user: {call.name}.")
        shown = {"id": row.id, "name": row.name, "domain_id": catalog.DOMAIN["id"], "enabled": row.enabled}
        return _json({"user": {**shown, "default_project_id": row.default_project_id}})

    def _shown(self, login: tokens.Login, root: str) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "methods": list(login.methods),
            "user": {
                "id": login.user.id,
                "name": login.user.name,
                "domain": catalog.DOMAIN,
                "password_expires_at": None,
            },
            "audit_ids": [login.audit_id],
            "expires_at": _moment(login.expires),
            "issued_at": _moment(login.issued),
        }
        if login.project is not None:
            shown["project"] = {"id": login.project.id, "name": login.project.name, "domain": catalog.DOMAIN}
            shown["is_domain"] = False
            shown["roles"] = [{"id": role, "name": role} for role in login.roles]
            shown["catalog"] = catalog.services(root, self._options.region)
        return shown


Handler = Callable[[Identity, Call], webob.Response]
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/v3/auth/tokens", Identity.show_token),
    ("DELETE", "/v3/auth/tokens", Identity.revoke_token),
    ("GET", "/v3/auth/projects", Identity.own_projects),
    ("GET", "/v3/auth/catalog", Identity.own_catalog),
    ("GET", "/v3/projects", Identity.projects),
    ("GET", "/v3/projects/([^/]+)", Identity.project),
    ("GET", "/v3/users/([^/]+)", Identity.user),
    ("GET", "/v3/users/([^/]+)/projects", Identity.own_projects),
)


def _scope(session: orm.Session, user: identity.User, scope: Any) -> identity.Project | None:
    """The project a login is for: the one asked for, without a word about it the user's own. Raises `Unauthorized`."""
    if scope is None:
        return identity.project(session, id=user.default_project_id) if user.default_project_id else None
    if scope == "unscoped" or (isinstance(scope, dict) and "unscoped" in scope):
        return None
    if not isinstance(scope, dict) or not isinstance(scope.get("project"), dict):
        raise errors.Unauthorized("Scope: expected a project; the embedded identity has no other scopes")
    wanted = scope["project"]
    if "id" in wanted:
        project = identity.project(session, id=_text(wanted, "id"))
    else:
        _check_domain(wanted.get("domain"))
        project = identity.project(session, name=_text(wanted, "name"))
    if project is None or not identity.roles(session, user.id, project.id):
        raise errors.Unauthorized("The user has no role in this project, or there is no such project")
    return project


def _login(call: Call) -> tokens.Login:
    login = tokens.look_up(call.session, call.web.headers.get("X-Auth-Token", ""))
    if login is None:
        raise errors.Unauthorized("The request you have made requires authentication.")
    return login


def _subject(call: Call) -> tuple[str, tokens.Login]:
    """The token that is asked about: the caller's own, or anybody's for administrators."""
    login = _login(call)
    text = call.web.headers.get("X-Subject-Token", "")
    subject = tokens.look_up(call.session, text)
    if subject is None:
        raise errors.NotFound("Could not find token.")
    if subject.user.id != login.user.id:
        _check_admin(login)
    return text, subject


def _check_admin(login: tokens.Login) -> None:
    if "admin" not in login.roles:
        raise errors.Forbidden("You are not authorized to perform the requested action.")


def _check_domain(domain: Any) -> None:
    given = domain if isinstance(domain, dict) else {}
    if not given or given.get("id") == catalog.DOMAIN["id"]:
        return
    if str(given.get("name", "")).lower() != catalog.DOMAIN["name"].lower():
        raise errors.Unauthorized('Domain: expected "default", the only one of the embedded identity')


def _object(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        raise errors.BadRequest(f"Expecting to find {key} in request body, an object.")
    return inner


def _text(value: dict[str, Any], key: str, longest: int = 255) -> str:
    text = value.get(key)
    if not isinstance(text, str) or len(text) > longest:
        raise errors.BadRequest(f"{key}: expected a string of at most {longest} characters")
    return text


def _not_you() -> errors.Unauthorized:
    return errors.Unauthorized("The request you have made requires authentication.")


def _version(root: str) -> dict[str, Any]:
    return {
        "id": VERSION,
        "status": "stable",
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{root}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def _project(row: identity.Project, root: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "domain_id": catalog.DOMAIN["id"],
        "parent_id": catalog.DOMAIN["id"],
        "enabled": True,
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{root}/identity/v3/projects/{row.id}"},
    }


def _links(call: Call) -> dict[str, Any]:
    return {"self": call.web.path_url, "previous": None, "next": None}


def _moment(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="microseconds") + "Z"


def _json(document: Any, status: int = 200) -> webob.Response:
    return webob.Response(
        body=json.dumps(document).encode(), status=status, content_type="application/json", charset=None
    )
