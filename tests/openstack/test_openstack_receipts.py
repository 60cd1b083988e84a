"""Receipts and leftovers on a real Heat: what stacks have by id, nested, retained; found again by their tags."""

from __future__ import annotations

import pytest
from heatclient import client as heat_client

import catalog.db.tables  # noqa: F401 - all tables
from catalog.db import base, resources
from engine import reconciling, tags, traces
from engine.clouds import heat as heat_cloud
from engine.clouds import ports, services

pytestmark = pytest.mark.openstack

TEMPLATE = {
    "heat_template_version": "2016-10-14",
    "resources": {
        "kept": {"type": "OS::Neutron::Net", "deletion_policy": "Retain"},
        "net": {"type": "OS::Neutron::Net"},
        "group": {
            "type": "OS::Heat::ResourceGroup",
            "properties": {"count": 2, "resource_def": {"type": "pair.yaml", "properties": {}}},
        },
    },
}
FILES = {
    "pair.yaml": 'heat_template_version: "2016-10-14"\n'
    "resources:\n"
    "  value: {type: OS::Heat::Value, properties: {value: one}}\n"
    "  net: {type: OS::Neutron::Net}\n"
}


@pytest.fixture
def database(tmp_path):
    made = base.Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    made.create_tables()
    yield made
    made.dispose()


@pytest.fixture
def orchestration(user):
    def connect(region):
        return heat_client.Client("1", session=user, service_type="orchestration", region_name=region or None)

    return heat_cloud.HeatOrchestration(connect, poll=0.5)


@pytest.fixture
def networks(user):
    """`networks()`: the ids of the project's networks; those that the test leaves are removed."""
    where = {"service_type": "network"}

    def ids():
        return {each["id"] for each in user.get("/v2.0/networks", endpoint_filter=where).json()["networks"]}

    before = ids()
    yield ids
    for each in ids() - before:
        user.delete(f"/v2.0/networks/{each}", endpoint_filter=where)


def test_what_a_stack_had_is_on_the_receipt_and_what_is_left_over_is_found_by_its_tags(
    user, orchestration, name, networks, database
):
    project_id = user.get_project_id()
    owned = tags.Tags(database, ("murano",))
    environment_id = base.new_id()
    place = resources.Place(environment_id=environment_id, project_id=project_id, stack=name)
    plain = ports.Stack(name=name, project_id=project_id, environment_id=environment_id, tags=("murano",))
    stack = ports.Stack(name=name, project_id=project_id, tags=owned.of(environment_id))
    policies = traces.Policies(TEMPLATE, FILES)

    def looked(**more):
        with database.transaction() as session:
            traces.look_at(orchestration, stack, place, policies=policies, **more).write(session)
        with database.reading() as session:
            return {row.name: row for row in resources.of_environment(session, environment_id)}

    try:
        orchestration.push(plain, TEMPLATE, FILES, None, {})
        orchestration.push(stack, TEMPLATE, FILES, None, {})  # a stack of before gets our tags with its next push
        rows = looked()
        nested = {f"group/{number}/{each}" for number in (0, 1) for each in ("value", "net")}
        assert set(rows) == {name, "kept", "net", "group", "group/0", "group/1", *nested}
        assert {row.state for row in rows.values()} == {"there"}
        assert {rows[each].physical_id for each in ("kept", "net", "group/0/net", "group/1/net")} <= networks()

        with database.transaction() as session:
            resources.end(
                session,
                environment_id=environment_id,
                project_id=project_id,
                name=name,
                user_id=user.get_user_id(),
                how=resources.ABANDONED,
            )
        offered = services.Cloud(orchestration=orchestration, agents=None)
        reconciler = reconciling.Reconciler(database, lambda context: offered, owned)
        [leftover] = reconciler.reconcile(project_id)["leftovers"]
        assert (leftover["name"], leftover["environment_id"]) == (name, environment_id)
        with database.transaction() as session:  # as if nobody had ever written it down
            session.execute(resources.sa.delete(resources.CloudResource))
        [found] = reconciler.reconcile(project_id)["leftovers"]
        assert found["stack_id"] == leftover["stack_id"] == rows[name].physical_id

        orchestration.delete(stack)
        rows = looked()
    finally:
        orchestration.delete(stack)
    assert {each: row.state for each, row in rows.items() if row.state != "gone"} == {"kept": "kept"}
    assert rows["kept"].physical_id in networks()
    assert not {row.physical_id for each, row in rows.items() if each != "kept"} & networks()
    assert reconciler.reconcile(project_id)["leftovers"] == []
