"""Yesterday's histories on today's code: every recorded deployment replays to its end without touching the world; one
that was interrupted goes on from where it was.
"""

from __future__ import annotations

import base64
import json

import pytest
from engine_harbour import opened_archive, publish_packages
from engine_history import HISTORIES, RECIPES, as_entry
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, effects_of, look, new_environment

from catalog.db import deployments, sessions
from engine import effects
from engine.agents import boot

KEPT = sorted(HISTORIES.glob("*.json"))
OUT = ("moored", "berth")


class Untouchable(MemoryCloud):
    """A cloud that nobody may call: all that a replay needs is recorded."""

    def _called(self, name, **arguments):
        if name != "forget":  # an environment that is gone: its agents' accounts follow it, after the ending
            raise AssertionError(f"a replay called {name} {arguments}")


def test_there_is_a_history_of_every_recipe():
    assert [path.stem for path in KEPT] == sorted(RECIPES)


def histories(in_flight):
    read = {path.stem: json.loads(path.read_text()) for path in KEPT}
    return [
        pytest.param(history, id=name)
        for name, history in read.items()
        if any(entry["finished"] is None for entry in history["journal"]) is in_flight
    ]


@pytest.mark.parametrize("history", histories(in_flight=False))
def test_a_recorded_deployment_replays_to_the_same_end(database, history, monkeypatch):
    monkeypatch.setattr(boot, "agent_source", lambda: "# the agent of another release, as servers get it at boot\n")
    deployment_id = as_it_was(database, history)
    assert carry(database, deployment_id, Untouchable(), MortalDatabase(database))
    seen = look(database, deployment_id)
    if history.get("kind") == "delete":
        assert seen.state is None, seen.result
        return
    assert (seen.session_state, seen.result["isException"]) == (history.get("session_state", "deployed"), False)
    if "result" in history:
        assert seen.result == history["result"]
    for name in history["left"]["Objects"]:
        if name != "?":
            assert seen.model["Objects"][name] == history["left"]["Objects"][name]
    assert len(effects_of(database, deployment_id)) == len(history["journal"])


@pytest.mark.parametrize("history", histories(in_flight=True))
def test_an_interrupted_deployment_goes_on_from_where_it_was(database, history, monkeypatch):
    performed = []
    real, rows = effects.Performer.perform, effects.Performer.rows
    monkeypatch.setattr(effects.Performer, "perform", lambda self, each: performed.append(each.key) or real(self, each))
    monkeypatch.setattr(effects.Performer, "rows", lambda self, each: performed.append(each.key) or rows(self, each))
    deployment_id = as_it_was(database, history)
    cloud = MemoryCloud(stacks=history["cloud"]["stacks"], results=history["cloud"]["results"])
    assert carry(database, deployment_id, cloud, MortalDatabase(database))
    seen = look(database, deployment_id)
    assert (seen.session_state, seen.result["isException"]) == ("deployed", False)
    assert all(ship[name] for ship in seen.model["Objects"]["services"] for name in OUT)
    assert sorted(cloud.stacks) == ["ship-anna", "ship-berta"]
    kept = {entry["key"]: entry for entry in history["journal"]}
    finished = {key for key, entry in kept.items() if entry["finished"] is not None}
    assert not finished & set(performed), "an effect with an outcome ran again"
    after = effects_of(database, deployment_id)
    assert {key: after[key].outcome for key in finished} == {key: kept[key]["outcome"] for key in finished}
    assert all(entry.finished for entry in after.values())


def as_it_was(database, history):
    """The deployment under its own id, from which ids of plans and reports come, in an environment of its own id."""
    packages = [opened_archive(base64.b64decode(each)) for each in history["packages"]]
    lock = publish_packages(database, packages)
    environment_id = new_environment(database, id_=history["environment_id"])
    object_id = (history["model"]["Objects"] or {"?": {}})["?"].get("id")
    kind = history.get("kind", "deploy")
    action = history.get("action", {"object_id": object_id, "method": "deploy", "args": {}})
    with database.transaction() as session:
        opened = sessions.Session(
            environment_id=environment_id,
            user_id="user-1",
            state=sessions.DELETING if kind == "delete" else sessions.DEPLOYING,
            version=0,
            model=history["model"],
        )
        session.add(opened)
        session.flush()
        session.add(
            deployments.Deployment(
                id=history["deployment_id"],
                environment_id=environment_id,
                session_id=opened.id,
                project_id="project-1",
                user_id="user-1",
                kind=kind,
                action=action,
                model=history["model"],
                lock=lock,
            )
        )
        session.flush()
        for entry in history["journal"]:
            session.add(as_entry(history["deployment_id"], entry))
    return history["deployment_id"]
