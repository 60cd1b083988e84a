"""How fast the package calls of the API are with many packages: latency, server CPU per request, requests per second.

A real WSGI server process, one client with one kept connection, one table per database. Server CPU is the worker's
own user and system time, so that it tells the same on a machine that is busy with other things; what a database
server of its own spends is not in it, and is in the latency. PostgreSQL and MariaDB take part where
CHANDLERY_TEST_POSTGRESQL and CHANDLERY_TEST_MARIADB name a server, on a database that is made and removed.

    python benchmarks/api/run.py [--packages 10000] [--requests 200] [--only sqlite] [--identity keystone]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
import shelves
import sqlalchemy as sa

from catalog import config, identity
from catalog.db import identity as accounts
from catalog.db import keys, migrations, tables  # noqa: F401  all tables are known before the first is used
from catalog.db.base import Database
from catalog.db.packages import Package
from catalog.identity import tokens

START_SECONDS = 120
CLIENTS = 4  # connections of the throughput measurement
WARM = 10  # requests before a route is measured
ENVIRONMENTS = 200
ORIGINAL = {  # milliseconds at 10,000 packages on MariaDB, one client: latency, in which its server's CPU is nearly all
    "search": 109.0,
    "by tag": 44.0,
    "by category": 65.0,
    "page of 20": 26.0,
    "get": 7.0,
    "list of 200 environments": 264.0,
    "upload": 1000.0 / 28,
}
Call = tuple[str, str, bytes | None, dict[str, str]]


def main() -> None:
    """Measure and print a table per database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200, help="of each route")
    parser.add_argument("--only", choices=("sqlite", "postgresql", "mariadb"))
    parser.add_argument("--identity", choices=("embedded", "keystone"), default="embedded")
    parser.add_argument("--profile", help="write a flame graph of the worker to this file (needs py-spy)")
    options = parser.parse_args()
    for name, url in databases():
        if options.only in (None, name):
            with url as found:
                measure(name, found, options)


def databases() -> Iterator[tuple[str, contextlib.AbstractContextManager[str]]]:
    """The databases there are, each as the URL of an empty one that is removed afterwards."""
    yield "sqlite", embedded()
    for name in ("postgresql", "mariadb"):
        server = os.environ.get(f"CHANDLERY_TEST_{name.upper()}")
        if server:
            yield name, served(server)


@contextlib.contextmanager
def embedded() -> Iterator[str]:
    """An SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/catalog.sqlite"


@contextlib.contextmanager
def served(url: str) -> Iterator[str]:
    """A new database on a server."""
    server = sa.make_url(url)
    name = f"chandlery_bench_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        engine.dispose()


def measure(name: str, url: str, options: argparse.Namespace) -> None:
    """Fills a database, starts a worker on it, and prints its table."""
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        account = identity.add_account(session, "bench", "bench", ["admin", "member"], "secret-bench")
        user, project = accounts.user(session, id=account.user_id), accounts.project(session, id=account.project_id)
        assert user is not None
        token, _ = tokens.issue(session, user, project, ["password"], 86400)
    shelves.fill(database, options.packages, account.project_id)
    with database.reading() as session:
        package_id = session.scalar(sa.select(Package.id).order_by(Package.name).offset(options.packages // 2))
    database.dispose()
    print(f"\n{name}, {options.packages} packages, {options.requests} requests a route, identity {options.identity}")
    with tempfile.TemporaryDirectory() as folder, serving(pathlib.Path(folder), url, options) as (server, port):
        headers = {"X-Auth-Token": token, "Accept": "application/json"}
        first = milliseconds(lambda: send(connect(port), ("GET", "/v1/catalog/packages", None, headers)))
        print(f"first list after the start {first:.0f} ms, worker {server.memory_info().rss >> 20} MiB")
        print(f"{'route':24} {'p50 ms':>8} {'p95 ms':>8} {'CPU ms':>8} {'original':>9} {'ratio':>6}")
        profile = profiling(server.pid, options.profile) if options.profile else contextlib.nullcontext()
        compose(headers, port)
        with profile:
            for route, calls in routes(headers, str(package_id), options.requests).items():
                report(route, calls, server, port)
        throughput(headers, str(package_id), options.requests * 5, server, port)
        print(f"worker {server.memory_info().rss >> 20} MiB at the end")


def routes(headers: dict[str, str], package_id: str, count: int) -> dict[str, list[Call]]:
    """What is measured: for each route, its requests, which differ where those of people would."""
    words = ["database", "cluster", "vendor07", "Mail Server", "proxy;cache", "kubernetes", "Router12", "tag042"]
    typed = ["data", "datab", "moni", "rout", "vau", "grap", "stre", "repo"]
    wrong = ["databse", "clutser", "replicaton", "Gatway", "monitro", "Archvie", "conatiner", "Consloe"]

    def get(path: str) -> Call:
        return ("GET", f"/v1/catalog/packages{path}", None, headers)

    def several(path: str, values: Sequence[object]) -> list[Call]:
        return [get(path.format(value)) for value in itertools.islice(itertools.cycle(values), count + WARM)]

    quoted = [word.replace(" ", "%20").replace(";", "%3B") for word in words]
    uploads = [upload(headers, f"org.uploaded.P{uuid.uuid4().hex[:10]}") for _ in range(min(count, 100) + WARM)]
    return {
        "page of 20": several("?limit=20{0:.0}", [""]),
        "page of 20, catalog": several("?limit=20&catalog=true&type=Application&order_by={}", ["name", "fqn"]),
        "page of 100": several("?limit=100{0:.0}", [""]),
        "later page": several(f"?limit=20&marker={package_id}{{0:.0}}", [""]),
        "by tag": several("?limit=20&tag={}", shelves.TAGS),
        "by category": several("?limit=20&category={}", ["Web", "SAP", "Databases"]),
        "by class": several("?class_name=org.{}.web.Server0", shelves.VENDORS),
        "by fqn": several("?fqn=org.vendor00.web.Server{}", range(0, 400, 40)),
        "search": several("?limit=20&search={}", quoted),
        "search while typing": several("?limit=20&catalog=true&search={}", typed),
        "search with typos": several("?limit=20&search={}", wrong),
        "search with facets": several("?limit=20&facets=true&search={}", quoted),
        "get": several(f"/{package_id}{{0:.0}}", [""]),
        "list of 200 environments": [("GET", "/v1/environments", None, headers)] * (count + WARM),
        "form": [("GET", f"/v1/catalog/packages/{package_id}/ui", None, {**headers, "Accept": "text/plain"})]
        * (count + WARM),
        "upload": uploads,
    }


def compose(headers: dict[str, str], port: int) -> None:
    """The environments of a project, as its members make them."""
    connection = connect(port)
    for number in range(ENVIRONMENTS):
        body = json.dumps({"name": f"environment {number}"}).encode()
        send(connection, ("POST", "/v1/environments", body, {**headers, "Content-Type": "application/json"}))
    connection.close()


def upload(headers: dict[str, str], fqn: str) -> Call:
    """An upload as clients send it."""
    archive = shelves.archive_of(fqn, "1.0.0")
    body = (
        b'--b\r\nContent-Disposition: form-data; name="__metadata__"\r\n\r\n{"categories": ["Web"]}\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="p.zip"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + archive + b"\r\n--b--\r\n"
    )
    return "POST", "/v1/catalog/packages", body, {**headers, "Content-Type": "multipart/form-data; boundary=b"}


def report(route: str, calls: Sequence[Call], server: psutil.Process, port: int) -> None:
    """Measures one route and prints its row."""
    connection = connect(port)
    for call in calls[:WARM]:
        send(connection, call)
    before = cpu(server)
    times = [milliseconds(lambda call=call: send(connection, call)) for call in calls[WARM:]]
    spent = (cpu(server) - before) * 1000 / len(times)
    connection.close()
    times.sort()
    p95 = times[int(len(times) * 0.95)]
    original = ORIGINAL.get(route)
    compared = f"{original:9.0f} {original / spent:5.0f}x" if original else ""
    print(f"{route:24} {statistics.median(times):8.1f} {p95:8.1f} {spent:8.2f} {compared}")


def throughput(headers: dict[str, str], package_id: str, count: int, server: psutil.Process, port: int) -> None:
    """Reads as several clients send them: three gets, a page and a search in five."""
    paths = [f"/{package_id}", "?limit=20", f"/{package_id}", "?limit=20&search=cluster", f"/{package_id}"]
    calls: list[Call] = [("GET", f"/v1/catalog/packages{path}", None, headers) for path in paths]
    began, before = time.monotonic(), cpu(server)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(lambda _: client(port, calls, count // CLIENTS), range(CLIENTS)))
    seconds, spent = time.monotonic() - began, cpu(server) - before
    print(f"{'mixed reads':24} {done / seconds:.0f}/s with {CLIENTS} clients; {done / spent:.0f} per second of CPU")


def client(port: int, calls: Sequence[Call], count: int) -> int:
    """One client of the throughput measurement; how many requests it sent."""
    connection = connect(port)
    for call in itertools.islice(itertools.cycle(calls), count):
        send(connection, call)
    connection.close()
    return count


def connect(port: int) -> http.client.HTTPConnection:
    """A connection that is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    connection.connect()
    assert connection.sock is not None
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send(connection: http.client.HTTPConnection, call: Call) -> bytes:
    """Sends one request and reads its answer, which has to be a success."""
    method, path, body, headers = call
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {path}: expected 200, found {answer.status}: {data[:500]!r}")
    return data


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def cpu(server: psutil.Process) -> float:
    """Seconds of user and system time the process has spent."""
    times = server.cpu_times()
    return float(times.user + times.system)


# --- the worker ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(folder: pathlib.Path, url: str, options: argparse.Namespace) -> Iterator[tuple[psutil.Process, int]]:
    """A worker on the database, and for `--identity keystone` another one as its Keystone."""
    with contextlib.ExitStack() as stack:
        settings = {
            "database": {"connection": url},
            "messaging": {"transport_url": "fake://"},
            "secrets": {"key_file": str(folder / "secrets.key")},
        }
        keys.make(config.load(overrides=settings))
        port, identity_port = free_port(), free_port()
        if options.identity == "keystone":
            stack.enter_context(worker(folder / "keystone.conf", settings, identity_port))
            root = f"http://127.0.0.1:{identity_port}/identity/v3"
            settings = {
                **settings,
                "identity": {"auth": "keystone"},
                "keystone_authtoken": {
                    "auth_url": root,
                    "www_authenticate_uri": root,
                    "auth_type": "password",
                    "username": "bench",
                    "password": "secret-bench",
                    "project_name": "bench",
                    "user_domain_name": "Default",
                    "project_domain_name": "Default",
                    "service_token_roles_required": "False",
                },
            }
        yield stack.enter_context(worker(folder / "chandlery.conf", settings, port)), port


@contextlib.contextmanager
def worker(file: pathlib.Path, settings: dict[str, dict[str, Any]], port: int) -> Iterator[psutil.Process]:
    """A worker process that answers."""
    lines = []
    for group, values in settings.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    script = str(pathlib.Path(__file__).with_name("worker.py"))
    environment = {**os.environ, "CHANDLERY_CONFIG": str(file), "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, script, str(port), str(CLIENTS + 2)], env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The worker did not start: exit code {process.poll()}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    """Whether a worker is healthy."""
    with contextlib.suppress(OSError, SystemExit):
        return send(connect(port), ("GET", "/healthcheck", None, {})) == b"OK"
    return False


@contextlib.contextmanager
def profiling(pid: int, file: str) -> Iterator[None]:
    """py-spy on the worker meanwhile."""
    spy = subprocess.Popen(["py-spy", "record", "-p", str(pid), "-o", file, "-f", "raw", "-r", "250", "-d", "3600"])
    time.sleep(1)
    try:
        yield
    finally:
        spy.send_signal(2)
        spy.wait(60)


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
