"""Recorded deployments, kept for ever: today's engine and language replay what yesterday's have written.

`python tests/engine/engine_history.py NAME` records the harbour as it is today, in `histories/NAME.json`. A history is
never recorded anew because a change broke its replay: the change would break deployments under way in the same way.
"""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import sys
import tempfile

from engine_harbour import CORE, HERE, fleet, of_harbour, opened, publish
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, look, new_environment, submit

from catalog.db import base, deployments, journal

HISTORIES = HERE / "histories"


def record(path: pathlib.Path) -> None:
    """Runs the harbour's deployment and writes model, packages, journal and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        database = base.Database(f"sqlite:///{folder}/catalog.sqlite")
        database.create_tables()
        folders = (CORE, HERE / "harbour")
        lock = publish(database, *folders)
        environment_id = new_environment(database)
        deployment_id = submit(database, environment_id, lock=lock, change=of_harbour(*fleet("anna", "berta")))
        assert carry(database, deployment_id, MemoryCloud(), MortalDatabase(database))
        with database.reading() as session:
            row = session.get(deployments.Deployment, deployment_id)
            history = {
                "environment_id": environment_id,
                "deployment_id": deployment_id,
                "model": row.model,
                "packages": [base64.b64encode(opened(each).archive()).decode() for each in folders],
                "journal": [
                    {
                        name: stored(getattr(entry, name))
                        for name in ("key", "name", "digest", "outcome", "failure", "started", "finished", "delivery")
                    }
                    for entry in journal.entries(session, deployment_id)
                ],
            }
        history["left"] = look(database, deployment_id).model
        database.dispose()
    path.write_text(json.dumps(history, indent=1) + "\n")


def stored(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


if __name__ == "__main__":
    import catalog.db.tables  # noqa: F401 - all tables, for create_tables

    HISTORIES.mkdir(exist_ok=True)
    record(HISTORIES / f"{sys.argv[1]}.json")
