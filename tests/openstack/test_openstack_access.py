"""On whose behalf the engine acts on a real cloud: its own user in the project, or an environment's trust."""

from __future__ import annotations

import concurrent.futures
import os
import socket
import time

import openstack_accounts
import pytest

import dsl
import packages
from catalog import trusts
from catalog.db import base
from engine import availability, config, effects
from engine.clouds import heat as heat_cloud
from engine.clouds import openstack, ports, services

pytestmark = pytest.mark.openstack

TEMPLATE = {
    "heat_template_version": "2013-05-23",
    "resources": {"net": {"type": "OS::Neutron::Net"}},
    "outputs": {"network": {"value": {"get_resource": "net"}}},
}


@pytest.fixture
def service_user(accounts):
    return accounts.user()


@pytest.fixture
def conf(auth_url, service_user):
    """The configuration of an engine."""
    made = config.load(
        overrides={"engine": {"agent_url": "http://127.0.0.1:1", "agent_secret": "at least sixteen characters"}}
    )
    made.register_opts(openstack.AUTH, group="murano_auth")
    for option, value in {
        "auth_url": auth_url,
        "username": service_user.name,
        "password": service_user.password,
    }.items():
        made.set_override(option, value, group="murano_auth")
    return made


@pytest.fixture
def logins(monkeypatch):
    """Those that clouds have made, the service user's own and the one that is worked with of each cloud."""
    found = []
    original = openstack._login

    def login(*arguments, **scope):
        found.append(original(*arguments, **scope))
        return found[-1]

    monkeypatch.setattr(openstack, "_login", login)
    return found


@pytest.fixture
def cloud(conf, user, logins, tmp_path, monkeypatch):
    """`cloud(trust_id)`: the ports as an engine process makes them from its configuration."""
    monkeypatch.setattr(heat_cloud, "POLL", 0.5)
    monkeypatch.setattr(heat_cloud, "RETRIES", (0.5,))
    database = base.Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    clouds = openstack.clouds(conf, database)
    project = user.get_project_id()

    def make(trust_id=None):
        return clouds(
            effects.Context(
                deployment_id="d",
                environment_id="e",
                project_id="of an administrator, who deploys for others",
                user_id=user.get_user_id(),
                owner_project_id=project,
                owner_user_id=user.get_user_id(),
                trust_id=trust_id,
            )
        )

    yield make
    database.dispose()


@pytest.fixture
def lending(conf):
    """What the API does about trusts."""
    return trusts.Trusts(conf)


@pytest.fixture
def lend(lending, user, auth_url):
    """`lend(**how)`: a trust of the user for the service's user; gone after the test."""
    made = []

    def make(**how):
        roles = [{"id": role} for role in user.auth.get_access(user).role_ids]
        made.append(lending.make(user.get_token(), user.get_user_id(), user.get_project_id(), roles, **how))
        return made[-1]

    yield make
    for trust_id in made:
        user.delete(f"{auth_url}/OS-TRUST/trusts/{trust_id}", raise_exc=False)


def test_a_service_user_without_a_role_in_the_project_is_told_so(cloud, name):
    with pytest.raises(ports.StackError, match="no access to Heat"):
        cloud().orchestration.push(ports.Stack(name=name), TEMPLATE, {}, None, {})


def test_a_service_user_with_a_role_in_the_project_keeps_stacks_there(cloud, name, heat, user, accounts, service_user):
    for role in ("member", "heat_stack_owner"):
        accounts.grant(service_user.id, user.get_project_id(), role)
    stack = ports.Stack(name=name)
    orchestration = cloud().orchestration
    outputs = orchestration.push(stack, TEMPLATE, {}, None, {})
    try:
        assert heat.stacks.get(name).stack_status == "CREATE_COMPLETE"
        network = user.get(f"/v2.0/networks/{outputs['network']}", endpoint_filter={"service_type": "network"}).json()[
            "network"
        ]
        assert network["project_id"] == user.get_project_id()
        assert outputs["network"] in {each["id"] for each in cloud().network.list("", "networks")}
    finally:
        orchestration.delete(stack)
    assert orchestration.current(stack) is None


def test_an_inherited_role_of_its_domain_lets_the_service_user_into_every_project(
    cloud, name, heat, accounts, service_user
):
    accounts.grant_inherited(service_user.id, "default", "member")
    stack = ports.Stack(name=name)
    orchestration = cloud().orchestration
    orchestration.push(stack, TEMPLATE, {}, None, {})
    try:
        assert heat.stacks.get(name).stack_status == "CREATE_COMPLETE"
    finally:
        orchestration.delete(stack)


def test_with_a_trust_the_engine_does_everything_without_a_role_of_its_own(cloud, name, heat, user, lend):
    stack = ports.Stack(name=name)
    lent = cloud(lend())
    outputs = lent.orchestration.push(stack, TEMPLATE, {}, None, {})
    try:
        assert set(outputs) == {"network"}
        assert heat.stacks.get(name).parameters["OS::project_id"] == user.get_project_id()
        assert outputs["network"] in {each["id"] for each in lent.network.list("", "networks")}
        assert lent.orchestration.push(stack, {**TEMPLATE, "outputs": {}}, {}, None, {}) == {}
        assert heat.stacks.get(name).stack_status == "UPDATE_COMPLETE"
    finally:
        lent.orchestration.delete(stack)
    assert lent.orchestration.current(stack) is None


def test_a_stack_of_the_service_user_goes_on_with_a_trust_and_back(cloud, name, user, accounts, service_user, lend):
    for role in ("member", "heat_stack_owner"):
        accounts.grant(service_user.id, user.get_project_id(), role)
    stack = ports.Stack(name=name)
    cloud().orchestration.push(stack, TEMPLATE, {}, None, {})
    lent = cloud(lend()).orchestration
    lent.push(stack, {**TEMPLATE, "outputs": {"one": {"value": "1"}}}, {}, None, {})
    assert cloud().orchestration.push(stack, {**TEMPLATE, "outputs": {}}, {}, None, {}) == {}
    lent.delete(stack)
    assert lent.current(stack) is None


def test_a_trust_that_heat_can_make_none_from_needs_a_role_of_the_service_user(
    cloud, name, user, accounts, service_user, lend
):
    brief = lend(seconds=600)  # is not made to be handed on
    stack = ports.Stack(name=name)
    with pytest.raises(ports.StackError, match=r"Heat failed: .*trust of its own"):
        cloud(brief).orchestration.push(stack, TEMPLATE, {}, None, {})
    for role in ("member", "heat_stack_owner"):
        accounts.grant(service_user.id, user.get_project_id(), role)
    orchestration = cloud(brief).orchestration
    try:
        assert set(orchestration.push(stack, TEMPLATE, {}, None, {})) == {"network"}
    finally:
        orchestration.delete(stack)


def test_without_use_trusts_a_trust_that_is_left_does_not_count(conf, cloud, name, lend):
    conf.set_override("use_trusts", False, group="engine")
    assert cloud(lend()).trust is None
    with pytest.raises(ports.StackError, match="no access to Heat"):
        cloud(lend()).orchestration.push(ports.Stack(name=name), TEMPLATE, {}, None, {})


def test_a_trust_works_until_it_is_revoked_or_its_user_loses_a_role(lending, accounts, auth_url, user):
    account, project = accounts.user(), accounts.project()
    for role in ("member", "heat_stack_owner"):
        accounts.grant(account.id, project["id"], role)
    session = openstack_accounts.login(auth_url, account.name, account.password, project["name"])
    roles = [{"id": role} for role in session.auth.get_access(session).role_ids]

    def lend():
        return lending.make(session.get_token(), account.id, project["id"], roles)

    first = lend()
    assert lending.work(first, project["id"])
    assert not lending.work(first, user.get_project_id())
    lending.remove(first)
    assert not lending.work(first, project["id"])
    lending.remove(first)  # is logged, and no more

    second = lend()
    accounts.withdraw(account.id, project["id"], "heat_stack_owner")
    assert not lending.work(second, project["id"])
    with pytest.raises(trusts.Refused):
        lend()  # with a role that is gone


def test_a_token_that_is_none_of_the_users_lends_nothing(lending, user, accounts):
    roles = [{"id": role} for role in user.auth.get_access(user).role_ids]
    for token, user_id in (("nonsense", user.get_user_id()), (user.get_token(), accounts.user().id)):
        with pytest.raises(trusts.Refused, match="Log in with a password"):
            lending.make(token, user_id, user.get_project_id(), roles)


def test_a_service_user_that_keystone_does_not_know_is_told_as_such(conf, user):
    conf.set_override("password", "wrong", group="murano_auth")
    with pytest.raises(trusts.Away, match="murano_auth"):
        trusts.Trusts(conf).make(user.get_token(), user.get_user_id(), user.get_project_id(), [])


def test_a_trust_that_is_given_back_is_gone_with_those_that_heat_made_of_it(cloud, name, user, auth_url, lend):
    trust_id = lend()
    lent = cloud(trust_id)
    stack = ports.Stack(name=name)
    lent.orchestration.push(stack, TEMPLATE, {}, None, {})

    def of_user():
        found = user.get(f"{auth_url}/OS-TRUST/trusts?trustor_user_id={user.get_user_id()}").json()["trusts"]
        return [each["id"] for each in found if trust_id in (each["id"], each["redelegated_trust_id"])]

    assert len(of_user()) == 2
    lent.orchestration.delete(stack)
    assert of_user() == [trust_id]
    lent.trust.give_back()
    assert of_user() == []
    with pytest.raises(ports.CloudError, match=trust_id):
        cloud(trust_id).trust.give_back()


def test_a_token_that_was_revoked_is_replaced_before_heat_has_ever_seen_it(cloud, logins, name, accounts, lend):
    lent = cloud(lend())
    worked_with = logins[-1].session
    revoked = worked_with.get_token()
    accounts.revoke(revoked)
    stack = ports.Stack(name=name)
    lent.orchestration.push(stack, TEMPLATE, {}, None, {})
    try:
        assert worked_with.get_token() != revoked
    finally:
        lent.orchestration.delete(stack)


def test_a_deployment_outlives_its_token(cloud, logins, name, heat, accounts, lend):
    """The token is revoked while Heat works. OpenStack's services believe a token they know for some minutes more, from
    a memory that is emptied here."""
    memory = os.environ.get("OS_TEST_MEMCACHED")
    if not memory:
        pytest.skip("the services remember tokens, and OS_TEST_MEMCACHED does not say where")
    slow = {"type": "OS::Heat::TestResource", "properties": {"wait_secs": 10, "value": "done"}}
    template = {
        **TEMPLATE,
        "resources": {"slow": slow},
        "outputs": {"value": {"value": {"get_attr": ["slow", "output"]}}},
    }
    lent = cloud(lend())
    worked_with = logins[-1].session
    stack = ports.Stack(name=name)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(lent.orchestration.push, stack, template, {}, None, {})
        try:
            while not any(each.stack_name == name for each in heat.stacks.list()):
                time.sleep(0.2)
            revoked = worked_with.get_token()
            accounts.revoke(revoked)
            host, _, port = memory.partition(":")
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(b"flush_all\r\n")
                assert connection.recv(100).startswith(b"OK")
            assert not pushed.done()
            assert pushed.result(120) == {"value": "done"}
            assert worked_with.get_token() != revoked
        finally:
            lent.orchestration.delete(stack)


def test_the_inventory_is_what_the_project_can_use(cloud, lend, flavor, image, user):
    inventory = cloud(lend()).inventory
    region = os.environ.get("OS_REGION_NAME", "RegionOne")
    assert region in inventory.regions()
    listed = {kind: inventory.list(region, kind) for kind in sorted(inventory.kinds - {"volumes"})}
    names = {kind: {each["name"] for each in items} for kind, items in listed.items()}
    assert flavor in names["flavors"]
    assert image in names["images"]
    assert "nova" in names["availability_zones"]
    assert "default" in names["security_groups"]
    assert any(each["router:external"] for each in listed["networks"])
    assert all(each["vcpus"] and each["ram"] for each in listed["flavors"])
    counted = {**inventory.quotas(region, "compute"), **inventory.quotas(region, "network")}
    assert set(counted) == {"instances", "cores", "ram", "floating_ips", "security_groups"}
    assert all(quota.limit >= -1 and quota.used >= 0 for quota in counted.values())
    assert inventory.list("Moon", "flavors") is None


def test_a_region_without_block_storage_says_so(cloud, lend, user):
    catalog = user.auth.get_access(user).service_catalog
    if any(catalog.get_endpoints(service_type=kind) for kind in ("volumev3", "block-storage")):
        pytest.skip("the cloud has block storage")
    inventory = cloud(lend()).inventory
    assert inventory.list("", "volumes") is None
    assert inventory.quotas("", "block-storage") is None


def test_an_inventory_without_access_says_so(cloud):
    with pytest.raises(services.NoAccess):
        cloud().inventory.regions()


def test_a_model_is_held_against_what_the_cloud_has(cloud, lend, flavor, image, user):
    library = dsl.Library([packages.folder() / "io.murano"])

    def server(number, **properties):
        fields = {"name": f"berth-{number}", "flavor": flavor, "image": image, **properties}
        return {"?": {"id": f"s{number}", "type": "io.murano.resources.LinuxInstance"}, **fields}

    def answer(*servers):
        root = {"?": {"id": "e", "type": "io.murano.Environment"}, "name": "e", "services": list(servers)}
        return availability.answer(library, {"Objects": root}, cloud(lend()), user.get_project_id())

    assert answer(server(1)) == availability.Answer()
    wrong = answer(server(1, flavor=f"{flavor}x", keyname="no-such-key", availabilityZone="moon"), server(2, image="x"))
    assert [(each["object_id"], each["path"]) for each in wrong.problems] == [
        ("s1", "flavor"), ("s1", "keyname"), ("s1", "availabilityZone"), ("s2", "image"),
    ]  # fmt: skip
    assert wrong.problems[0]["fix"] == f"Did you mean {flavor!r}?"
    instances = cloud(lend()).inventory.quotas("", "compute")["instances"]
    if instances.limit < 0:
        pytest.skip("the project has no quota")
    many = answer(*(server(number) for number in range(instances.limit + 1)))
    assert any("more servers are needed" in each["message"] for each in many.problems)
