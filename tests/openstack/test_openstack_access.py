"""On whose behalf the engine acts on a real cloud: its own user in the project, or an environment's trust."""

from __future__ import annotations

import pytest

from catalog.db import base
from engine import config, effects
from engine.clouds import heat as heat_cloud
from engine.clouds import ports

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
def cloud(auth_url, service_user, user, tmp_path, monkeypatch):
    """`cloud(trust_id)`: the ports as an engine process makes them from its configuration."""
    monkeypatch.setattr(heat_cloud, "POLL", 0.5)
    conf = config.load(
        overrides={"engine": {"agent_url": "http://127.0.0.1:1", "agent_secret": "at least sixteen characters"}}
    )
    database = base.Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    conf.register_opts(heat_cloud.AUTH, group="murano_auth")
    for option, value in {
        "auth_url": auth_url,
        "username": service_user.name,
        "password": service_user.password,
    }.items():
        conf.set_override(option, value, group="murano_auth")
    clouds = heat_cloud.clouds(conf, database)
    project = user.get_project_id()

    def make(trust_id=None):
        return clouds(
            effects.Context(
                deployment_id="d",
                environment_id="e",
                project_id=project,
                user_id=user.get_user_id(),
                owner_project_id=project,
                owner_user_id=user.get_user_id(),
                trust_id=trust_id,
            )
        )

    yield make
    database.dispose()


@pytest.fixture
def trust(auth_url, user, service_user):
    """A trust with which the service's user acts as the user in the user's project."""
    roles = [{"name": role} for role in user.auth.get_access(user).role_names]
    body = {
        "trust": {
            "trustor_user_id": user.get_user_id(),
            "trustee_user_id": service_user.id,
            "project_id": user.get_project_id(),
            "impersonation": True,
            "roles": roles,
        }
    }
    made = user.post(f"{auth_url}/OS-TRUST/trusts", json=body).json()["trust"]
    yield made["id"]
    user.delete(f"{auth_url}/OS-TRUST/trusts/{made['id']}", raise_exc=False)


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


def test_with_a_trust_the_engine_updates_and_deletes_what_the_user_has_created(
    cloud, name, heat, user, trust, auth_url
):
    heat.stacks.create(stack_name=name, template=TEMPLATE, disable_rollback=True)
    stack = ports.Stack(name=name)
    orchestration = cloud(trust).orchestration
    assert set(orchestration.outputs(stack)) == {"network"}
    assert orchestration.push(stack, {**TEMPLATE, "outputs": {}}, {}, None, {}) == {}
    assert heat.stacks.get(name).stack_status == "UPDATE_COMPLETE"
    orchestration.delete(stack)
    assert orchestration.current(stack) is None
    assert user.get(f"{auth_url}/OS-TRUST/trusts/{trust}").json()["trust"]["id"] == trust


def test_with_a_trust_heat_creates_nothing_because_keystone_lets_it_make_no_trust_of_a_trust(
    cloud, name, trust, monkeypatch
):
    monkeypatch.setattr(heat_cloud, "RETRIES", (0.5,))
    with pytest.raises(ports.StackError, match="Heat failed: Internal Error"):
        cloud(trust).orchestration.push(ports.Stack(name=name), TEMPLATE, {}, None, {})
