"""Databases and brokers that go away in the middle of deployments, and come back."""

from __future__ import annotations

import chaos_servers
import pytest
import sqlalchemy as sa
from chaos_convoy import EFFECTS
from chaos_world import PATIENCE, World, check_unharmed, wait_until

from catalog import broker
from catalog.broker import oslo_messaging
from catalog.db import base, deployments, journal
from engine import config

LONG = 600.0  # a lease that outlasts the outage: the worker that was at it goes on


@pytest.fixture(scope="module", params=[chaos_servers.Postgres, chaos_servers.MariaDb])
def own_server(request):
    server = request.param()
    yield server
    server.close()


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    server = chaos_servers.Rabbit(tmp_path_factory.mktemp("outage"))
    yield server
    server.close()


@pytest.mark.chaos
@pytest.mark.parametrize("lease", [LONG, 1.0], ids=["the-lease-lasts", "the-lease-runs-out-meanwhile"])
def test_the_database_server_crashes_in_the_middle_of_deployments(own_server, tmp_path, lease):
    """As if its machine had lost its power, three times: what was committed is there, what was not is done again."""
    name = f"outage_{base.new_id()[:8]}"
    admin = sa.create_engine(own_server.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    database = base.Database(sa.make_url(own_server.url).set(database=name).render_as_string(hide_password=False))
    database.create_tables()
    with World(database, tmp_path, lease=lease) as world:
        calm = calmly(world)
        ids = [world.submit(world.environment(f"outage {number}")) for number in range(3)]
        for worker in range(2):
            world.worker(concurrency=2 + worker)
        for share in (0.2, 0.5, 0.8):
            wait_until(lambda share=share: progress(database, ids) > share, what=f"{share:.0%} of the deployments")
            own_server.crash()
            own_server.start()
        world.wait_for_the_end(*ids)
        for each in ids:
            check_unharmed(world, each, calm)
    database.dispose()


@pytest.fixture(params=["postgresql", pytest.param("mariadb", marks=pytest.mark.chaos)])
def server_database(request):
    return request.getfixturevalue(request.param)


def test_connections_to_the_database_break_and_come_back(server_database, tmp_path):
    url = sa.make_url(server_database.url)
    if url.query.get("unix_socket"):
        pytest.skip("the server is reached by a socket, which no cable leads to")
    default = 5432 if url.get_backend_name() == "postgresql" else 3306
    cable = chaos_servers.Cable(url.host, url.port or default)
    behind = url.set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
    with World(server_database, tmp_path, lease=LONG) as world:
        calm = calmly(world)
        ids = [world.submit(world.environment("cut"))]
        world.worker(database=behind)
        for share in (0.2, 0.6):
            wait_until(
                lambda share=share: progress(server_database, ids) > share, what=f"{share:.0%} of the deployment"
            )
            cable.cut()
            cable.mend()
        world.wait_for_the_end(*ids)
        check_unharmed(world, ids[0], calm)
    cable.cut()


@pytest.mark.chaos
def test_the_broker_crashes_and_deployments_are_found_without_it(rabbit, sqlite, tmp_path):
    """Wake-ups are lost while the broker is away, and work again, as questions do, when it is back."""
    exchange = base.new_id()
    with World(sqlite, tmp_path, lease=LONG, broker=rabbit.url, exchange=exchange) as world:
        calm = calmly(world)
        world.worker(poll=0.5)
        wait_until(lambda: len(world.told("ready")) == 2, what="the worker")
        rabbit.crash()
        away = world.submit(world.environment("without a broker"))
        world.wait_for_the_end(away)
        check_unharmed(world, away, calm)
        rabbit.start()
        conf = config.load(overrides={"messaging": {"transport_url": rabbit.url, "exchange": exchange}})
        client = oslo_messaging.get_rpc_client(broker.transport(conf), broker.target(conf))
        asked = client.prepare(timeout=PATIENCE)
        found = asked.call({}, "check", model={"Objects": None}, lock=world.lock, project_id="project-1")
        assert found == {"problems": [], "notes": []}


@pytest.mark.chaos
def test_a_wake_up_through_a_broker_finds_its_worker(rabbit, sqlite, tmp_path):
    exchange = base.new_id()
    with World(sqlite, tmp_path, lease=LONG, broker=rabbit.url, exchange=exchange, poll=3600.0) as world:
        world.worker()
        wait_until(lambda: world.told("ready"), what="the worker")
        deployment_id = world.submit(world.environment("woken"))
        conf = config.load(overrides={"messaging": {"transport_url": rabbit.url, "exchange": exchange}})
        client = oslo_messaging.get_rpc_client(broker.transport(conf), broker.target(conf))
        client.cast({}, "deployment_ready", deployment_id=deployment_id)
        world.wait_for_the_end(deployment_id)


def calmly(world):
    """What an undisturbed deployment leaves."""
    deployment_id = world.submit(world.environment("calm"))
    world.worker(once=True, lease=LONG, broker=None).join(PATIENCE)
    check_unharmed(world, deployment_id, seen := world.seen(deployment_id))
    return seen


def progress(database, ids):
    """The share of effects that have an outcome."""
    with database.reading() as session:
        done = session.scalar(
            sa.select(sa.func.count()).where(
                journal.JournalEntry.deployment_id.in_(ids), journal.JournalEntry.finished.is_not(None)
            )
        )
        ended = session.scalar(
            sa.select(sa.func.count()).where(
                deployments.Deployment.id.in_(ids), deployments.Deployment.state == deployments.FINISHED
            )
        )
    return max((done or 0) / (EFFECTS * len(ids)), float(ended == len(ids)))
