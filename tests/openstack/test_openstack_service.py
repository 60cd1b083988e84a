"""The whole service on a real cloud: API and engine as processes of their own, found through Keystone's catalog.

Needs a database server and a broker: `OS_TEST_DATABASE_URL` (of a user who may create databases) and
`OS_TEST_TRANSPORT_URL`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import uuid

import openstack_relay
import openstack_service
import pytest
from heatclient import exc

import packages
from cli import client

pytestmark = pytest.mark.openstack

PACKAGES = pathlib.Path(__file__).parent / "packages"
DEPLOYED = 240.0  # seconds a deployment may take
PATIENCE = 30.0  # seconds in which what has no end of its own to wait for is done


@pytest.fixture(scope="module")
def installation(auth_url, accounts, user, tmp_path_factory):
    """`installation.engine()` starts a worker; the API runs and is registered with Keystone."""
    server, broker = os.environ.get("OS_TEST_DATABASE_URL"), os.environ.get("OS_TEST_TRANSPORT_URL")
    if not server or not broker:
        pytest.skip("no database server and broker: OS_TEST_DATABASE_URL, OS_TEST_TRANSPORT_URL not set")
    folder = tmp_path_factory.mktemp("installation")
    account = accounts.user()
    accounts.grant(account.id, accounts.project_named("service")["id"], "service")
    networks = user.get("/v2.0/networks", endpoint_filter={"service_type": "network"}).json()["networks"]
    outside = next(each["name"] for each in networks if each["router:external"])
    router = f"chandlery-test-{uuid.uuid4().hex[:10]}"
    url = f"http://127.0.0.1:{openstack_service.free_port()}"
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(openstack_service.empty_database(server))
        configuration = folder / "chandlery.conf"
        configuration.write_text(
            openstack_service.CONFIGURATION.format(
                database=database,
                broker=broker,
                auth_url=auth_url,
                username=account.name,
                password=account.password,
                url=url,
                secret=uuid.uuid4().hex,
                external_network=outside,
                router=router,
                class_configs=folder / "class-configs",
            )
        )
        subprocess.run([sys.executable, "-m", "cli.main", "db", "upgrade", "--url", database], check=True, timeout=60)
        accounts.endpoint("application-catalog", url)
        found = Installation(folder, configuration, url, account.id)
        stack.callback(remove_router, user, router)  # environments share it, so the engine leaves it
        stack.callback(found.stop)
        found.start_api()
        yield found


def remove_router(user, name):
    network = {"service_type": "network"}
    for router in user.get("/v2.0/routers", params={"name": name}, endpoint_filter=network).json()["routers"]:
        user.delete(f"/v2.0/routers/{router['id']}", endpoint_filter=network)


class Installation:
    """The processes, and who talks to them."""

    def __init__(self, folder: pathlib.Path, configuration: pathlib.Path, url: str, user_id: str) -> None:
        self.folder = folder
        self.url = url
        self.user_id = user_id  # of the service's user, who has no role in the users' projects
        self._configuration = configuration
        self._processes: list[openstack_service.Process] = []

    def start_api(self) -> None:
        address = self.url.removeprefix("http://")
        command = ("cheroot", "--bind", address, "catalog.wsgi:application")
        api = openstack_service.Process(self.folder / "api.log", *command, CHANDLERY_CONFIG=str(self._configuration))
        self._processes.append(api)
        api.wait_for(url=f"{self.url}/healthcheck")

    def start_engine(self) -> openstack_service.Process:
        log = self.folder / f"engine-{uuid.uuid4().hex[:6]}.log"
        engine = openstack_service.Process(log, "chandlery-engine", str(self._configuration))
        engine.wait_for(ready="ready")
        return engine

    def run(self, *command: str, **environ: str) -> str:
        """What `python -m COMMAND` prints, as the user of the OS_* variables."""
        finished = subprocess.run(
            [sys.executable, "-m", *command],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environ, "CHANDLERY_DATA": str(self.folder)},
        )
        assert finished.returncode == 0, f"{command}: {finished.stdout}{finished.stderr}"
        return finished.stdout

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.stop()


@pytest.fixture(scope="module")
def rest():
    """The REST client of the user of the OS_* variables."""
    return client.Client(client.Credentials.from_environment(dict(os.environ), pathlib.Path("/nonexistent")))


@pytest.fixture(scope="module")
def catalog(installation):
    """The core library, published by an administrator, and the user's application."""
    admin = {
        "OS_USERNAME": os.environ.get("OS_ADMIN_USERNAME", "admin"),
        "OS_PASSWORD": os.environ["OS_ADMIN_PASSWORD"],
        "OS_PROJECT_NAME": os.environ.get("OS_ADMIN_PROJECT_NAME", "admin"),
    }
    core = str(packages.folder() / "io.murano")
    installation.run("cli.main", "package", "import", "--public", core, **admin)
    for name in ("berth", "quay"):
        installation.run("cli.main", "package", "import", str(PACKAGES / name))


@pytest.fixture
def start_engine(installation):
    """`start_engine()`: another worker, stopped at the end of the test."""
    with contextlib.ExitStack() as started:

        def start():
            engine = installation.start_engine()
            started.callback(engine.stop)
            return engine

        yield start


@pytest.fixture
def compose(rest, name, flavor, image, catalog):
    """`compose(**instance)`: an environment with the application in a session: `(environment's id, session's id)`."""

    def composed(**properties):
        made = rest.request("POST", "/environments", body={"name": name})["id"]
        session = rest.request("POST", f"/environments/{made}/configure")["id"]
        instance = {
            "?": {"type": "io.murano.resources.LinuxInstance", "id": uuid.uuid4().hex},
            "name": "berth",
            "flavor": flavor,
            "image": image,
            **properties,
        }
        berth = {"?": {"type": "org.chandlery.tests.Berth", "id": uuid.uuid4().hex}, "instance": instance}
        rest.request("POST", f"/environments/{made}/services", body=berth, session=session)
        return made, session

    return composed


@pytest.fixture
def environment(compose):
    """An environment with the application in a session: `(environment's id, session's id)`."""
    return compose(assignFloatingIp=True)


@pytest.fixture
def lent(user, auth_url, installation):
    """`lent()`: the trusts that the user has given to the service's user."""

    def found():
        given = user.get(f"{auth_url}/OS-TRUST/trusts?trustor_user_id={user.get_user_id()}").json()["trusts"]
        return [each["id"] for each in given if each["trustee_user_id"] == installation.user_id]

    return found


def finished(rest, environment_id, *states):
    """The last deployment once the environment's status is one of `states`, and its reports."""
    deadline = time.monotonic() + DEPLOYED
    while time.monotonic() < deadline:
        status = rest.request("GET", f"/environments/{environment_id}")["status"]
        if status not in ("deploying", "deleting", "pending"):
            break
        time.sleep(1)
    deployment = rest.request("GET", f"/environments/{environment_id}/deployments")["deployments"][0]
    reports = rest.request("GET", f"/environments/{environment_id}/deployments/{deployment['id']}")["reports"]
    assert status in states, json.dumps([deployment["result"], reports], indent=1)
    return [report["text"] for report in reports]


def gone(rest, environment_id):
    deadline = time.monotonic() + DEPLOYED
    while time.monotonic() < deadline:
        if environment_id not in {each["id"] for each in rest.request("GET", "/environments")["environments"]}:
            return True
        time.sleep(1)
    return False


@pytest.fixture
def stacks(heat):
    """`stacks()`: environments' stacks in the project that were not there before the test."""
    before = {stack.id for stack in heat.stacks.list()}

    def there():
        found = [each for each in heat.stacks.list() if each.id not in before and each.stack_name.startswith("murano-")]
        return [each for each in found if each.stack_status != "DELETE_COMPLETE"]  # which Heat shows for a moment

    return there


def test_an_application_is_deployed_changed_and_deleted_as_stacks_of_the_users_project(
    start_engine, rest, environment, stacks, heat, user, lent
):
    start_engine()
    environment_id, session = environment
    checked = rest.request("POST", f"/environments/{environment_id}/check", session=session)
    assert checked == {"problems": [], "notes": []}
    plan = rest.request("POST", f"/environments/{environment_id}/plan", session=session)
    assert "OS::Nova::Server" in json.dumps(plan["steps"]), json.dumps(plan["steps"][-3:], indent=1)
    assert stacks() == []
    assert lent() == []  # what was lent for the questions is taken back

    assert rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy") is None
    assert len(lent()) == 1
    reports = finished(rest, environment_id, "ready")
    (stack,) = stacks()
    stack = heat.stacks.get(stack.id)
    assert stack.stack_status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    assert stack.parameters["OS::project_id"] == user.get_project_id()
    kinds = {resource.resource_type for resource in heat.resources.list(stack.id)}
    assert {"OS::Nova::Server", "OS::Neutron::Net", "OS::Neutron::Port", "OS::Neutron::FloatingIP"} <= kinds

    (berth,) = rest.request("GET", f"/environments/{environment_id}/services")
    instance = berth["instance"]
    servers = user.get("/servers/detail", endpoint_filter={"service_type": "compute"}).json()["servers"]
    assert instance["openstackId"] in {server["id"] for server in servers}
    assert any(f"Berth is at {instance['floatingIpAddress']}" in text for text in reports)
    assert instance["floatingIpAddress"] in berth["addresses"]

    assert rest.request("DELETE", f"/environments/{environment_id}") is None
    assert gone(rest, environment_id)
    assert stacks() == []
    with pytest.raises(exc.HTTPNotFound):
        heat.stacks.get(stack.stack_name)
    deadline = time.monotonic() + PATIENCE
    while lent() and time.monotonic() < deadline:  # it is given back when the environment is gone
        time.sleep(0.5)
    assert lent() == []


def test_a_worker_that_dies_while_heat_works_is_replaced_and_nothing_is_made_twice(
    start_engine, rest, environment, stacks
):
    environment_id, session = environment
    first = start_engine()
    rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
    deadline = time.monotonic() + DEPLOYED
    while not stacks() and time.monotonic() < deadline:
        time.sleep(0.1)
    first.kill()
    start_engine()
    finished(rest, environment_id, "ready")
    assert len(stacks()) == 1
    rest.request("DELETE", f"/environments/{environment_id}")
    assert gone(rest, environment_id)
    assert stacks() == []


def test_an_image_that_is_not_there_is_a_problem_before_and_heats_reason_after(
    start_engine, rest, compose, stacks, flavor, lent
):
    start_engine()
    environment_id, session = compose(flavor="no-such-flavor", image="no-such-image")
    problems = rest.request("POST", f"/environments/{environment_id}/check", session=session)["problems"]
    assert {each["path"] for each in problems} == {"flavor", "image"}
    rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
    reports = finished(rest, environment_id, "deploy failure")
    assert any("no-such-" in text for text in reports), reports
    rest.request("DELETE", f"/environments/{environment_id}")
    assert gone(rest, environment_id)
    assert stacks() == []


def test_a_template_with_files_and_environments_is_deployed_changed_and_fails_with_the_innermost_reason(
    start_engine, rest, name, catalog, heat
):
    start_engine()
    environment_id = rest.request("POST", "/environments", body={"name": name})["id"]
    header = {"type": "org.chandlery.tests.Quay", "id": uuid.uuid4().hex}

    def deployed(state, **properties):
        session = rest.request("POST", f"/environments/{environment_id}/configure")["id"]
        services = [{"?": header, "name": "quay", **properties}]
        rest.request("PUT", f"/environments/{environment_id}/services", body=services, session=session)
        rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
        reports = finished(rest, environment_id, state)
        return rest.request("GET", f"/environments/{environment_id}/services")[0], reports

    try:
        quay, _reports = deployed("ready", hotEnvironment="calm.env")
        assert quay["templateOutputs"] == {
            "text": "of the environment", "greeting": "Ahoy\n", "number": "7", "list": ["a", "b"], "map": {"a": 1},
        }  # fmt: skip
        quay, _reports = deployed("ready", templateParameters={"text": "of the user"})
        assert quay["templateOutputs"]["text"] == "of the user"
        quay, reports = deployed("deploy failure", templateParameters={"text": "x", "fail": True})
        assert any("'deepest' (OS::Heat::TestResource)" in text for text in reports), reports
        deployed("ready", templateParameters={"text": "mended"})
    finally:
        rest.request("DELETE", f"/environments/{environment_id}")
    assert gone(rest, environment_id)
    left = [each for each in heat.stacks.list() if environment_id in each.stack_name]
    assert all(each.stack_status == "DELETE_COMPLETE" for each in left)  # which Heat shows for a moment


def test_a_trust_that_the_user_has_revoked_is_replaced_by_the_next_deployment(
    start_engine, rest, environment, lent, user, auth_url
):
    environment_id, session = environment
    rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
    (revoked,) = lent()
    user.delete(f"{auth_url}/OS-TRUST/trusts/{revoked}")
    start_engine()
    reports = finished(rest, environment_id, "deploy failure")
    assert any("requires authentication" in text or "no access" in text for text in reports), reports
    session = rest.request("POST", f"/environments/{environment_id}/configure")["id"]
    rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
    assert lent() != [revoked]
    finished(rest, environment_id, "ready")
    rest.request("DELETE", f"/environments/{environment_id}")
    assert gone(rest, environment_id)


def test_what_is_to_be_in_another_region_is_made_by_the_services_of_that_region(
    installation, start_engine, rest, compose, stacks, heat, accounts, user
):
    """The other region has a Heat and a Neutron of its own address; they hand on what they hear to the first ones."""
    with contextlib.ExitStack() as around:
        relays = {
            kind: around.enter_context(openstack_relay.before(user.get_endpoint(service_type=kind)))
            for kind in ("orchestration", "network", "compute", "image")
        }
        urls = {kind: relay.url_template(user.get_project_id()) for kind, relay in relays.items()}
        region = around.enter_context(accounts.region(**urls))
        configs = installation.folder / "class-configs"
        configs.mkdir()
        around.callback(shutil.rmtree, configs)
        broker = {"host": "mq", "login": "guest", "password": "guest"}
        regions = {"regionConfigs": {region: {"agentRabbitMq": broker}}}
        (configs / "io.murano.Environment.json").write_text(json.dumps(regions))
        start_engine()

        environment_id, session = compose(regionName=region)
        checked = rest.request("POST", f"/environments/{environment_id}/check", session=session)
        assert checked == {"problems": [], "notes": []}
        assert "GET /v2/images" in relays["image"].heard
        rest.request("POST", f"/environments/{environment_id}/sessions/{session}/deploy")
        finished(rest, environment_id, "ready")
        (stack,) = [each for each in stacks() if each.stack_name.startswith(f"murano-{region}-")]
        assert "berth" in {resource.resource_name for resource in heat.resources.list(stack.id)}
        assert any(heard.startswith("POST ") and heard.endswith("/stacks") for heard in relays["orchestration"].heard)
        assert "GET /v2.0/routers" in relays["network"].heard
        rest.request("DELETE", f"/environments/{environment_id}")
        assert gone(rest, environment_id)
        assert stacks() == []


def test_the_unmodified_murano_client_finds_the_service_in_keystones_catalog(installation, rest, catalog):
    murano = shutil.which("murano", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if murano is None:
        pytest.skip("python-muranoclient is not installed")
    listed = subprocess.run([murano, "package-list"], capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0, listed.stderr
    assert "org.chandlery.tests.Berth" in listed.stdout
