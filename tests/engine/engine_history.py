"""Recorded deployments, kept for ever: today's engine and language replay what yesterday's have written.

`python tests/engine/engine_history.py NAME` records one of the `RECIPES` as it is today, in `histories/NAME.json`. A
history is never recorded anew because a change broke its replay: the change would break deployments under way in the
same way. A new one is named after what it proves.
"""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine_harbour import BUNDLED, CORE, HERE, NETWORKS, fleet, of_harbour, opened, publish
from engine_mortal import BEFORE, MortalDatabase, carry
from engine_world import MemoryCloud, effects_of, look, new_environment, submit

from catalog.db import base, deployments, journal, sealing
from engine.clouds import ports, recording

HISTORIES = HERE / "histories"
HARBOUR = (CORE, HERE / "harbour")
SHIPS = of_harbour(*fleet("anna", "berta"))
COLUMNS = ("key", "name", "digest", "outcome", "failure", "started", "finished", "delivery")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a history came about: `how` is what the deployment is submitted with, `after` that of one before it."""

    folders: Sequence[pathlib.Path] = HARBOUR
    change: Callable[[dict], dict] | None = SHIPS
    how: Mapping[str, Any]
    after: Mapping[str, Any] | None = None
    cloud: Callable[[], Any] = MemoryCloud
    in_flight: frozenset[str] = frozenset()  # names of effects that were, when the worker died
    before_the_end: bool = False  # the worker died before its last transaction, which removes the journal


def _without_north() -> MemoryCloud:
    def refuse(name: str, arguments: Mapping[str, Any]) -> None:
        if arguments.get("stack") == "ship-north":
            raise ports.StackError("ship-north", "no more quota", "hull", "OS::Nova::Server")

    return MemoryCloud(before=refuse)


def _grafana(model: dict) -> dict:
    applications = json.loads((BUNDLED / "examples" / "grafana-on-a-server.json").read_text())
    return {**model, "Objects": {**model["Objects"], "services": applications, "defaultNetworks": NETWORKS}}


RECIPES = {
    "two-ships-in-parallel": Recipe(how={}),
    "a-failure-that-the-package-caught": Recipe(how={"method": "rescue"}, cloud=_without_north),
    "an-action-of-one-object": Recipe(
        after={}, change=None, how={"object_id": "anna", "method": "load", "args": {"cargo": 7}}
    ),
    "a-deletion-with-destructors": Recipe(after={}, change=None, how={"kind": "delete"}, before_the_end=True),
    "grafana-on-a-server": Recipe(
        folders=sorted(path.parent for path in BUNDLED.glob("*/manifest.yaml")),
        change=_grafana,
        how={},
        cloud=recording.Recording,
    ),
    "interrupted-while-a-stack-was-pushed": Recipe(how={}, in_flight=frozenset(("heat.push",))),
    "interrupted-while-a-script-ran": Recipe(how={}, in_flight=frozenset(("agent.run",))),
    "interrupted-in-a-sleep": Recipe(how={}, in_flight=frozenset(("sleep",))),
}


def record(name: str) -> dict[str, Any]:
    """Runs a recipe's deployment: model, packages, journal and what came of it."""
    recipe = RECIPES[name]
    found: dict[str, Any] | None = None
    for death in range(2, 40) if recipe.in_flight or recipe.before_the_end else (0,):
        with tempfile.TemporaryDirectory() as folder:
            database = base.Database(f"sqlite:///{folder}/catalog.sqlite")
            sealing.use(database, sealing.Ring([bytes(sealing.KEY_BYTES)], "histories, which are stored in the clear"))
            database.create_tables()
            made = _recorded(database, recipe, death)
            database.dispose()
        found = made or found
        if found is not None and not recipe.before_the_end:
            break
    if found is not None:
        return found
    raise SystemExit(f"{name}: never were {', '.join(sorted(recipe.in_flight))} in flight alone; try again")


def _recorded(database: base.Database, recipe: Recipe, death: int) -> dict[str, Any] | None:
    lock = publish(database, *recipe.folders)
    environment_id = new_environment(database)
    cloud = recipe.cloud()
    if recipe.after is not None:
        before = submit(database, environment_id, lock=lock, change=SHIPS, **recipe.after)
        assert carry(database, before, cloud, MortalDatabase(database))
    deployment_id = submit(database, environment_id, lock=lock, change=recipe.change, **recipe.how)
    with database.reading() as session:
        row = session.get_one(deployments.Deployment, deployment_id)
        submitted = {"kind": row.kind, "action": row.action, "model": row.model}
    if carry(database, deployment_id, cloud, MortalDatabase(database, death, BEFORE)) and recipe.before_the_end:
        return None
    entries = effects_of(database, deployment_id)
    if {entry.name for entry in entries.values() if entry.finished is None} != recipe.in_flight:
        return None
    seen = look(database, deployment_id)
    return {
        "environment_id": environment_id,
        "deployment_id": deployment_id,
        **submitted,
        "packages": [base64.b64encode(opened(each).archive()).decode() for each in recipe.folders],
        "journal": [{name: stored(getattr(entry, name)) for name in COLUMNS} for entry in entries.values()],
        "cloud": {"stacks": cloud.stacks, "results": cloud.results} if recipe.in_flight else None,
        "session_state": seen.session_state,
        "result": seen.result,
        "left": seen.model,
    }


def stored(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def as_entry(deployment_id: str, kept: Mapping[str, Any]) -> journal.JournalEntry:
    """A row of a journal from a history."""
    times = {name: kept[name] and datetime.datetime.fromisoformat(kept[name]) for name in ("started", "finished")}
    return journal.JournalEntry(deployment_id=deployment_id, arguments={}, **{**kept, **times})


if __name__ == "__main__":
    import catalog.db.tables  # noqa: F401 - all tables, for create_tables

    HISTORIES.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        (HISTORIES / f"{name}.json").write_text(json.dumps(record(name), indent=1) + "\n")
