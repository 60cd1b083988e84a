"""A real OpenStack, found through the `OS_*` variables of an RC file; without them every test here is skipped.

What an administrator has to do (users, roles, trusts' trustees) is done with `OS_ADMIN_PASSWORD`, and with the names
`OS_ADMIN_USERNAME` and `OS_ADMIN_PROJECT_NAME` where they are not `admin`. Everything that is made is removed again.
"""

from __future__ import annotations

import os
import uuid

import pytest
from heatclient import client as heat_client
from keystoneauth1 import adapter
from openstack_accounts import Accounts, login

REQUIRED = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")
REGION = os.environ.get("OS_REGION_NAME")


@pytest.fixture(scope="session")
def auth_url():
    """Keystone's address; skips where no cloud is named."""
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no OpenStack: {', '.join(missing)} not set")
    url = os.environ["OS_AUTH_URL"].rstrip("/")
    return url if url.endswith("/v3") else f"{url}/v3"


@pytest.fixture(scope="session")
def user(auth_url):
    """The session of the user whom the variables name."""
    environ = os.environ
    return login(auth_url, environ["OS_USERNAME"], environ["OS_PASSWORD"], environ["OS_PROJECT_NAME"])


@pytest.fixture(scope="session")
def accounts(auth_url):
    """Makes users, roles and projects, as an administrator; they are gone after the tests."""
    password = os.environ.get("OS_ADMIN_PASSWORD")
    if not password:
        pytest.skip("no administrator: OS_ADMIN_PASSWORD not set")
    admin = login(
        auth_url,
        os.environ.get("OS_ADMIN_USERNAME", "admin"),
        password,
        os.environ.get("OS_ADMIN_PROJECT_NAME", "admin"),
    )
    made = Accounts(adapter.Adapter(admin, endpoint_override=auth_url))
    yield made
    made.remove()


@pytest.fixture(scope="session")
def heat(user):
    """python-heatclient as the user, to look at what Chandlery did."""
    return heat_client.Client("1", session=user, service_type="orchestration", region_name=REGION, interface="public")


@pytest.fixture(scope="session")
def flavor(user):
    """The smallest flavor there is."""
    found = user.get("/flavors/detail", endpoint_filter={"service_type": "compute"}).json()["flavors"]
    return min(found, key=lambda flavor: flavor["ram"])["name"]


@pytest.fixture(scope="session")
def image(user):
    """An image that can be booted."""
    images = user.get("/v2/images?status=active", endpoint_filter={"service_type": "image"}).json()["images"]
    if not images:
        pytest.skip("the cloud has no image to boot")
    return images[0]["name"]


@pytest.fixture
def name():
    """A name nothing else has."""
    return f"chandlery-test-{uuid.uuid4().hex[:10]}"
