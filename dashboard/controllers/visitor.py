"""Who is looking at a page: opened from the sealed cookie, once per request."""

from __future__ import annotations

import dataclasses

import pecan

from dashboard import api, security
from dashboard.configuration import Configuration


@dataclasses.dataclass(frozen=True)
class Visitor:
    """A logged-in person, the API as that person may use it, and what the operator says of this installation."""

    login: api.Login
    api: api.Api
    notice: str
    simulated: bool


class Visitors:
    """Knows the visitor of the current request."""

    def __init__(self, configuration: Configuration, sealer: security.Sealer) -> None:
        self._configuration = configuration
        self._sealer = sealer

    def current(self) -> Visitor:
        """The visitor. Raises api.Refused (401) when nobody is logged in; the error pages lead to the login then."""
        content = self._sealer.open(pecan.request.cookies.get(security.COOKIE))
        if content is None:
            raise api.Refused(401, "Log in first.")
        login = api.Login(content["token"], content["user"], content["project"])
        service = api.Api(self._configuration.api_url, login.token)
        return Visitor(login, service, self._configuration.notice, self._configuration.simulated)
