"""Yesterday's histories on today's code: every recorded deployment replays to its end without touching the world."""

from __future__ import annotations

import base64
import datetime
import json

import pytest
from engine_harbour import opened_archive, publish_packages
from engine_history import HISTORIES
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, look, new_environment, submit

from catalog.db import journal

KEPT = sorted(HISTORIES.glob("*.json"))


class Untouchable(MemoryCloud):
    """A cloud that nobody may call: all that a replay needs is recorded."""

    def _called(self, name, **arguments):
        raise AssertionError(f"a replay called {name} {arguments}")


def test_there_are_histories():
    assert KEPT


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_recorded_deployment_replays_to_the_same_end(database, path):
    history = json.loads(path.read_text())
    packages = [opened_archive(base64.b64decode(each)) for each in history["packages"]]
    lock = publish_packages(database, packages)
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id, lock=lock, change=lambda _model: history["model"])
    with database.transaction() as session:
        for entry in history["journal"]:
            times = {name: datetime.datetime.fromisoformat(entry[name]) for name in ("started", "finished")}
            session.add(journal.JournalEntry(deployment_id=deployment_id, arguments={}, **{**entry, **times}))
    assert carry(database, deployment_id, Untouchable(), MortalDatabase(database))
    seen = look(database, deployment_id)
    assert seen.session_state == "deployed", seen.result
    for name in ("services", "log"):
        assert seen.model["Objects"][name] == history["left"]["Objects"][name]
