"""What a receipt costs: the time to write the list of a stack in the transaction of an effect's outcome.

Run with `python benchmarks/engine/receipts.py [database URL]`, by default an SQLite file.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid

from catalog.db import base, resources, tables

ROUNDS = 200


def main() -> None:
    """Prints medians: a transaction with nothing in it, with a list for the first time, and with the same again."""
    with tempfile.TemporaryDirectory() as folder:
        database = base.Database(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/catalog.sqlite")
        tables.METADATA.create_all(database.engine)
        empty = statistics.median(timed(database, []) for _ in range(ROUNDS))
        sys.stdout.write(f"transaction without a list: {empty:.2f} ms\n")
        for number in (5, 50):
            first, again = [], []
            for _ in range(ROUNDS):
                place = resources.Place(environment_id=base.new_id(), project_id="p", stack="s")
                seen = [
                    resources.Seen(physical_id=uuid.uuid4().hex, name=f"r{each}", type="OS::Nova::Server")
                    for each in range(number)
                ]
                first.append(timed(database, [(place, seen)]))
                again.append(timed(database, [(place, seen)]))
            sys.stdout.write(
                f"{number} resources: {statistics.median(first) - empty:.2f} ms more the first time, "
                f"{statistics.median(again) - empty:.2f} ms more when they are known\n"
            )
        database.dispose()


def timed(database: base.Database, looks: list[tuple[resources.Place, list[resources.Seen]]]) -> float:
    """Milliseconds of one transaction that takes the lists down."""
    began = time.perf_counter()
    with database.transaction() as session:
        for place, seen in looks:
            resources.see(session, place, seen)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
