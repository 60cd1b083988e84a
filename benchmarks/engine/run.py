"""Many deployments at once on several engine processes: `python benchmarks/engine/run.py [deployments [processes]]`.

Real engine processes on PostgreSQL (or with `--database mariadb`) and RabbitMQ, where they answer
(`CHANDLERY_TEST_POSTGRESQL`, `CHANDLERY_TEST_MARIADB`, `CHANDLERY_TEST_RABBITMQ`), else on SQLite and by polling. The
cloud is a recording, which answers at once, and scripts do nothing: what is left is the engine's own work. That is told
in processor time. The exit status tells whether every goal is met.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402

import catalog.db.tables  # noqa: E402, F401 - all tables
from catalog import broker, packages  # noqa: E402
from catalog.broker import oslo_messaging  # noqa: E402
from catalog.db import base, deployments, environments, journal, keys, sessions  # noqa: E402
from dsl import packages as dsl_packages  # noqa: E402
from engine import config  # noqa: E402

PROJECTS = 10
OVERHEAD = 150.0  # ms of processor time for each deployment: the goal
IDLE = 120.0  # MB resident of an engine with nothing to do: the goal
NETWORK = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"}, "name": "bench-network"}


def main() -> int:
    chosen = _arguments()
    with _database(chosen.database) as database, tempfile.TemporaryDirectory() as folder:
        lock = _publish(database)
        conf, path = _configuration(database, Path(folder))
        processes = [_Process(path) for _ in range(chosen.processes)]
        try:
            idle = max(process.resident() for process in processes)
            notify = _announcer(conf)
            _run(database, notify, [_submit(database, lock, "warm", number) for number in range(chosen.processes * 4)])
            for process in processes:
                process.forget_cloud()
            before = [process.seconds() for process in processes]
            began = time.perf_counter()
            ids = [
                _submit(database, lock, f"project-{number % PROJECTS}", number) for number in range(chosen.deployments)
            ]
            most = _run(database, notify, ids)
            wall = time.perf_counter() - began
            spent = [process.seconds() - start for process, start in zip(processes, before, strict=True)]
            peak = max(process.resident() for process in processes)
        finally:
            cloud = sum(process.end() for process in processes)
        return _tell(database, ids, idle=idle, peak=peak, spent=spent, cloud=cloud, wall=wall, most=most)


def _tell(
    database: base.Database,
    ids: list[str],
    *,
    idle: float,
    peak: float,
    spent: list,
    cloud: float,
    wall: float,
    most: int,
) -> int:
    with database.reading() as session:
        rows = list(session.scalars(sa.select(deployments.Deployment).where(deployments.Deployment.id.in_(ids))))
        effects = session.scalar(sa.select(sa.func.count()).where(journal.JournalEntry.deployment_id.in_(ids))) or 0
    failed = [row for row in rows if row.state != deployments.FINISHED or (row.result or {}).get("isException")]
    taken_over = [row for row in rows if row.fence != 1]
    ends: dict[str, list[float]] = collections.defaultdict(list)
    first = min(row.created for row in rows)
    for row in rows:
        ends[row.project_id].append((row.finished - first).total_seconds() if row.finished else 0.0)
    means = sorted(sum(each) / len(each) for each in ends.values())
    overhead = (sum(spent) - cloud) / len(ids) * 1000
    print(f"{'database, broker':52} {database.engine.dialect.name}, {_broker().partition(':')[0] or 'none'}")
    print(
        f"{'deployments, with errors, taken over by another':52} {len(ids)}, {len(failed)}, {len(taken_over)}   goal 0"
    )
    print(f"{'at once, at most (sampled); processes':52} {most}; {len(spent)}")
    print(f"{'effects of a deployment':52} {effects / len(ids):.0f}")
    print(f"{'processor time for a deployment, its cloud not counted':52} {overhead:.0f} ms   goal < {OVERHEAD:.0f} ms")
    print(f"{'the cloud, a recording of what it is asked':52} {cloud / len(ids) * 1000:.0f} ms")
    print(f"{'processor time for an effect':52} {(sum(spent) - cloud) / max(1, effects) * 1000:.1f} ms")
    print(f"{'shares of the processes':52} {', '.join(f'{each / sum(spent):.0%}' for each in spent)}")
    print(f"{'all ended after; mean end, first and last project':52} {wall:.1f} s; {means[0]:.1f} s, {means[-1]:.1f} s")
    print(f"{'resident, idle; after the work':52} {idle:.0f} MB; {peak:.0f} MB   goal idle < {IDLE:.0f} MB")
    for row in failed[:3]:
        print(json.dumps(row.result)[:1000])
    return int(bool(failed) or overhead > OVERHEAD or idle > IDLE)


def _run(database: base.Database, notify: Any, ids: list[str]) -> int:
    """Announces and waits for the end; how many were seen running at once."""
    for each in ids:
        notify(each)
    state, most = deployments.Deployment.state, 0
    while True:
        with database.reading() as session:
            counts = dict(
                session.execute(
                    sa.select(state, sa.func.count()).where(deployments.Deployment.id.in_(ids)).group_by(state)
                ).all()
            )
        most = max(most, counts.get(deployments.RUNNING, 0))
        if counts.get(deployments.FINISHED, 0) == len(ids):
            return most
        time.sleep(0.1)


def _submit(database: base.Database, lock: list[dict], project: str, number: int) -> str:
    environment_id = base.new_id()
    example = json.loads((ROOT / "packages" / "examples" / "grafana-on-a-server.json").read_text())
    model = {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": environment_id},
            "name": f"{project}-{number}",
            "services": example,
            "defaultNetworks": {"environment": NETWORK, "flat": None},
        },
        "Attributes": [],
        "project_id": project,
        "user_id": "user",
    }
    with database.transaction() as session:
        environment = environments.Environment(
            id=environment_id, name=f"{project}-{number}", project_id=project, model=model
        )
        session.add(environment)
        session.flush()
        opened = sessions.open_for(session, environment, "user")
        opened.state = sessions.DEPLOYING
        return deployments.submit(
            session,
            environment_id=environment_id,
            session_id=opened.id,
            project_id=project,
            user_id="user",
            kind="deploy",
            action={"object_id": environment_id, "method": "deploy", "args": {}},
            model=model,
            lock=lock,
        ).id


def _publish(database: base.Database) -> list[dict]:
    """The bundled packages in the catalog; their lock."""
    lock = []
    for manifest in sorted((ROOT / "packages").glob("*/manifest.yaml")):
        archive = dsl_packages.open_package(manifest.parent).archive()
        opened = packages.open_archive(archive, dsl_packages.ArchiveLimits())
        with database.transaction() as session:
            row = packages.store(session, opened, owner_id="bench", is_public=True)
            lock.append(
                {"fqn": opened.name, "version": opened.version, "package_id": row.id, "digest": opened.package.digest}
            )
    return lock


def _configuration(database: base.Database, folder: Path) -> tuple[Any, Path]:
    path = folder / "engine.conf"
    path.write_text(
        f"[database]\nconnection = {database.url}\n"
        f"[messaging]\ntransport_url = {_broker() or 'fake://'}\nexchange = bench-{base.new_id()[:8]}\n"
        "[engine]\nengine_workers = 64\nclass_configs = /nonexistent\n"
        f"[secrets]\nkey_file = {folder}/secrets.key\n"
    )
    conf = config.load([str(path)])
    keys.make(conf)
    keys.configure(database, conf)
    return conf, path


def _announcer(conf: Any) -> Any:
    if not _broker():
        return lambda _deployment_id: None
    client = oslo_messaging.get_rpc_client(broker.transport(conf), broker.target(conf))
    return lambda deployment_id: client.cast({}, "deployment_ready", deployment_id=deployment_id)


class _Process:
    """An engine process, and what the kernel knows of it."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, str(HERE / "worker_process.py"), str(path)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise SystemExit("an engine process did not start")
        time.sleep(3)  # what it does by itself

    def resident(self) -> float:
        """MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kib) * 1024 / 1e6

    def seconds(self) -> float:
        """Processor time."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_cloud(self) -> None:
        """What the cloud took until now does not count."""
        self._process.send_signal(signal.SIGUSR1)

    def end(self) -> float:
        """Stops it; the seconds of processor time that its cloud took."""
        self._process.terminate()
        try:
            told, _ = self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return 0.0
        return float(told or 0.0)


SERVERS = {
    "postgresql": os.environ.get("CHANDLERY_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1/postgres"),
    "mariadb": os.environ.get("CHANDLERY_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1/mysql"),
}


@contextlib.contextmanager
def _database(kind: str) -> Iterator[base.Database]:
    url = SERVERS[kind]
    name = f"chandlery_bench_{base.new_id()[:8]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except (sa.exc.DBAPIError, ModuleNotFoundError):
        with tempfile.TemporaryDirectory() as folder:
            database = base.Database(f"sqlite:///{folder}/catalog.sqlite")
            database.create_tables()
            yield database
            database.dispose()
        return
    database = base.Database(sa.make_url(url).set(database=name).render_as_string(hide_password=False))
    try:
        database.create_tables()
        yield database
    finally:
        database.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))
        admin.dispose()


def _broker() -> str:
    return os.environ.get("CHANDLERY_TEST_RABBITMQ", "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("deployments", nargs="?", type=int, default=100)
    parser.add_argument("processes", nargs="?", type=int, default=2)
    parser.add_argument("--database", choices=sorted(SERVERS), default="postgresql")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
