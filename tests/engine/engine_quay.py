"""An environment of the harbour whose deployments are carried out at once, and what its receipt says."""

from __future__ import annotations

from engine_harbour import harbour, of_harbour
from engine_mortal import AFTER, MortalDatabase, carry
from engine_world import MemoryCloud, look, new_environment, submit

import dsl
from catalog.db import environments, resources


class Quay:
    """An environment, its cloud, and workers that end what is submitted at once."""

    def __init__(self, database, cloud=None, name="harbour"):
        self.database = database
        self.cloud = cloud or MemoryCloud()
        self.lock = harbour(database)
        self.environment_id = new_environment(database, name=name)

    def submit(self, *ships, **fields):
        if ships:
            fields["change"] = of_harbour(*ships)
        return submit(self.database, self.environment_id, lock=self.lock, **fields)

    def run(self, *ships, last=0, when=AFTER, **fields):
        """A deployment, by a worker that dies at its `last`-th transaction."""
        deployment_id = self.submit(*ships, **fields)
        self.carry(deployment_id, last, when)
        return look(self.database, deployment_id), deployment_id

    def carry(self, deployment_id, last=0, when=AFTER):
        mortal = MortalDatabase(self.database, last, when)
        carry(self.database, deployment_id, self.cloud, mortal, limits=dsl.Limits(steps=200_000))

    def rows(self):
        with self.database.reading() as session:
            return resources.of_environment(session, self.environment_id)

    def states(self):
        """What the receipt says: state and reason by type and name; the oldest of a name first."""
        found = {}
        for row in self.rows():
            found.setdefault(f"{row.stack}/{row.name}", []).append((row.state, row.reason))
        return found

    def receipt(self):
        with self.database.reading() as session:
            return resources.receipt(session, self.environment_id)

    def is_there(self):
        with self.database.reading() as session:
            return environments.get(session, self.environment_id) is not None
