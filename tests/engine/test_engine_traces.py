"""What effects leave outside of stacks, and what templates say becomes of what their stacks let go of."""

from __future__ import annotations

import contextlib

import pytest
from engine_world import PROJECT, USER, MemoryCloud

import dsl
from catalog.db import resources
from engine import effects, traces
from engine.clouds import ports, services

WORKFLOWS = "version: '2.0'\nbackup: {tasks: {}}\nrestore: {tasks: {}}\n"


class Cloud(MemoryCloud):
    """With Neutron, Mistral, and agents that have credentials of their own on a broker."""

    def create_router(self, region, name, external_network_id):
        return {"id": "router-id", "name": name} if region == "R" else {"name": name}

    def upload(self, region, definition):
        if "broken" in definition:
            raise ports.CloudError("no such task")

    def register(self, environment_id, project_id, instance_id):
        return {
            "agent_id": "a",
            "protocol": "amqp",
            "broker": {
                "login": f"agent-{instance_id}",
                "virtual_host": f"env-{environment_id}",
                "password": "Secret-1",
            },
        }

    def cloud(self):
        return services.Cloud(orchestration=self, agents=self, network=self, workflow=self)


@pytest.fixture
def left(database):
    """`left(name, **arguments)`: what the receipt has after the effect, by type and id: state and reason."""
    context = effects.Context(
        deployment_id="d",
        environment_id="e",
        project_id=PROJECT,
        user_id=USER,
        owner_project_id=PROJECT,
        owner_user_id=USER,
    )
    performer = effects.Performer(context, Cloud().cloud())

    def perform(effect, **arguments):
        trace = traces.Trace(performer, dsl.Effect("0/1", effect, arguments, None, None))
        with contextlib.suppress(dsl.SystemFailure):
            trace.perform()
        with database.transaction() as session:
            trace.write(session)
            trace.write(session)  # the answer to a commit may get lost
        with database.reading() as session:
            rows = resources.of_environment(session, "e")
        assert "Secret-1" not in str([vars(row) for row in rows])
        return {(row.type, row.physical_id): (row.state, row.reason) for row in rows}

    return perform


def test_a_router_that_was_made_is_kept_for_the_project(left):
    found = left("network.create_router", region="R", name="murano-default-router", external_network_id="ext")
    assert found == {("OS::Neutron::Router", "router-id"): ("kept", traces.SHARED_ROUTER)}


def test_an_answer_of_another_form_fails_nothing(left):
    assert left("network.create_router", region="S", name="router", external_network_id="ext") == {}


def test_workflows_are_kept_by_their_names(left):
    found = left("mistral.upload", region=None, definition=WORKFLOWS)
    assert set(found) == {("OS::Mistral::Workflow", "backup"), ("OS::Mistral::Workflow", "restore")}
    assert {state for state, _reason in found.values()} == {"kept"}


@pytest.mark.parametrize("definition", ["broken: {}", "- a list", "{", "word"])
def test_workflows_that_were_not_made_or_can_not_be_read_are_not_taken_down(left, definition):
    assert left("mistral.upload", region=None, definition=definition) == {}


def test_what_an_agent_was_given_on_the_broker_is_gone_when_the_broker_has_forgotten_it(left, database):
    found = left("agent.register", instance_id="i")
    assert found == {
        (traces.VHOST, "env-e"): ("there", None),
        (traces.BROKER_USER, "agent-i"): ("there", None),
    }
    for left_because, state in (("the broker is away", "left"), (None, "gone")):
        with database.transaction() as session:
            resources.settle(session, "e", traces.ON_BROKER, left=left_because)
        with database.reading() as session:
            assert {row.state for row in resources.of_environment(session, "e")} == {state}


TEMPLATE = {
    "parameters": {"policy": {"type": "string", "default": "delete"}, "plain": {"type": "string", "default": "retain"}},
    "resources": {
        "plain": {"type": "OS::Cinder::Volume", "deletion_policy": {"get_param": "plain"}},
        "one": {"type": "OS::Nova::Server"},
        "two": {"type": "OS::Cinder::Volume", "deletion_policy": "Retain"},
        "odd": {"type": "OS::Cinder::Volume", "deletion_policy": {"get_param": "policy"}},
        "pair": {"type": "pair.yaml"},
    },
}
PAIR = "resources:\n  inner: {type: OS::Cinder::Volume, deletion_policy: snapshot}\n"


@pytest.mark.parametrize(
    ("name", "parent", "policy"),
    [
        ("one", None, "delete"),
        ("two", None, "retain"),
        ("odd", None, "retain"),
        ("plain", None, "retain"),
        ("pair/inner", "pair.yaml", "snapshot"),
        ("pair/inner", "file:///somewhere/pair.yaml", "snapshot"),
        ("pair/other", "pair.yaml", None),
        ("group/0", "OS::Heat::ResourceGroup", None),
        ("unknown", None, None),
    ],
)
def test_policies_are_those_of_the_template_that_a_resource_is_in(name, parent, policy):
    held = ports.Held(id="i", name=name, type="T", parent_type=parent)
    assert traces.Policies(TEMPLATE, {"pair.yaml": PAIR}, {"policy": "RETAIN"}).of(held) == policy


@pytest.mark.parametrize(
    "policy", [{"get_param": ["a", 1]}, {"get_param": {"x": 1}}, {"get_param": "nowhere"}, 5, [1], None, {}]
)
@pytest.mark.parametrize("parameters", [None, [1], {"nowhere": 3}])
def test_a_policy_that_makes_no_sense_is_the_usual_one(policy, parameters):
    template = {"parameters": parameters, "resources": {"one": {"type": "T", "deletion_policy": policy}}}
    assert traces.Policies(template).of(ports.Held(id="i", name="one", type="T")) == "delete"


@pytest.mark.parametrize("text", [5, None, ["x"], "{", "- 1", "resources: 3", "resources: {inner: 5}", ""])
def test_a_nested_template_that_is_none_says_nothing(text):
    held = ports.Held(id="i", name="pair/inner", type="T", parent_type="pair.yaml")
    assert traces.Policies(TEMPLATE, {"pair.yaml": text}).of(held) is None
