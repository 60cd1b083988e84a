"""One service for all tests of the dashboard; each makes environments of its own."""

from __future__ import annotations

import dashboard_service
import pytest
import requests
from dashboard_service import PASSWORD


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """A whole service with a dashboard, a demo account and packages."""
    with dashboard_service.running(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="session")
def root(running):
    """The service's URL."""
    return running.url


@pytest.fixture(scope="session")
def api(running):
    """The REST API as the tenant of the dashboard may use it."""
    return running.api()


@pytest.fixture
def visitor():
    """A browser without a login: same-origin, keeps cookies."""
    session = requests.Session()
    session.headers["Sec-Fetch-Site"] = "same-origin"
    return session


@pytest.fixture
def tenant(root, visitor):
    """A browser that has logged in."""
    form = {"username": "demo", "password": PASSWORD, "project": "demo"}
    assert visitor.post(f"{root}/dashboard/login", data=form).url == f"{root}/dashboard/"
    return visitor
