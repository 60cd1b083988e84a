"""The unmodified murano-agent, in a network namespace of its own, over a real RabbitMQ (spec/agent-protocol).

It is release 12.0.0, the last one: Debian's 10.0.0 can not store a plan under Python 3 (it writes text to a file opened
for bytes), which upstream mended afterwards. Needs root, `ip`, and the broker's management plugin.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

import amqp as wire
import kombu
import pytest
import requests
from agents_world import script_plan, wait_until
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import catalog.db.environments
from catalog.db import agents as rows
from catalog.db import base
from engine.agents import amqp, broker, stored
from engine.system import signing

BROKER = urllib.parse.urlsplit(os.environ.get("CHANDLERY_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672"))
MANAGEMENT = os.environ.get("CHANDLERY_TEST_RABBITMQ_MANAGEMENT", f"http://{BROKER.hostname}:15672")
AGENT = os.environ.get("CHANDLERY_TEST_MURANO_AGENT")
CONFIG = pathlib.Path(__file__).parents[2] / "packages" / "io.murano" / "Resources" / "Agent-v2.template"
SECRET = b"a secret of the tests, 32 bytes.."
PROJECT = "p" * 32


def stamp() -> int:
    """Larger than all before, as agents want it."""
    return time.time_ns() // 100_000


@dataclasses.dataclass
class Site:
    """A service, its broker, and the address under which namespaces reach it."""

    database: base.Database
    agents: amqp.AmqpAgents
    environment_id: str


@pytest.fixture(scope="module")
def management() -> broker.Management:
    found = broker.Management(MANAGEMENT, BROKER.username or "guest", BROKER.password or "guest")
    try:
        found.vhosts("")
    except broker.BrokerError as error:
        pytest.skip(f"no RabbitMQ with its management plugin (rabbitmq-plugins enable rabbitmq_management): {error}")
    return found


@pytest.fixture
def site(management: broker.Management, tmp_path: pathlib.Path) -> Iterator[Site]:
    database = base.Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    database.create_tables()
    environment_id = add_environment(database)
    made = amqp.AmqpAgents(
        database=database,
        address=amqp.Address(
            host=BROKER.hostname or "127.0.0.1",
            port=BROKER.port or 5672,
            login=BROKER.username or "guest",
            password=BROKER.password or "guest",
        ),
        management=management,
        secret=SECRET,
        installation=f"test-{uuid.uuid4().hex[:12]}",
    )
    yield Site(database, made, environment_id)
    for vhost in management.vhosts(f"{made.installation}-"):
        management.dismiss(vhost)
    database.dispose()


def add_environment(database: base.Database) -> str:
    environment_id = uuid.uuid4().hex
    with database.transaction() as session:
        session.add(
            catalog.db.environments.Environment(
                id=environment_id, name=environment_id, project_id=PROJECT, model={"Objects": None}
            )
        )
    return environment_id


class Link:
    """A server's network: a namespace that reaches the broker through this process and nothing else."""

    def __init__(self) -> None:
        number = os.getpid() % 250
        self.name = f"cha-{uuid.uuid4().hex[:8]}"
        self.here, there = f"10.213.{number}.1", f"10.213.{number}.2"
        for command in (
            f"netns add {self.name}",
            f"link add {self.name} type veth peer name eth0 netns {self.name}",
            f"addr add {self.here}/30 dev {self.name}",
            f"link set {self.name} up",
            f"-n {self.name} addr add {there}/30 dev eth0",
            f"-n {self.name} link set eth0 up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
        self.listener = socket.create_server((self.here, 0))
        self.port = self.listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                if not self.up:
                    one.close()
                    continue
                other = socket.create_connection((BROKER.hostname, BROKER.port or 5672))
                self._open += [one, other]
                for ends in ((one, other), (other, one)):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()

    def cut(self) -> None:
        """Breaks what is connected, and lets nothing new through."""
        self.up = False
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.up = True

    def close(self) -> None:
        self.cut()
        self.listener.close()
        subprocess.run(["ip", "link", "del", self.name], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link() -> Iterator[Link]:
    if AGENT is None:
        pytest.skip("CHANDLERY_TEST_MURANO_AGENT names no muranoagent (PyPI: murano-agent==12.0.0)")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    try:
        made = Link()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr}")
    yield made
    made.close()


class Server:
    """A server with the stock agent, configured as the core library's boot data configure it."""

    def __init__(self, site: Site, link: Link, folder: pathlib.Path, instance_id: str = "web", key: str = "") -> None:
        self.site, self.link, self.folder = site, link, folder / f"server-{instance_id}"
        self.folder.mkdir()
        self.access = site.agents.register(site.environment_id, PROJECT, instance_id)
        self.id = str(self.access["agent_id"])
        self.queue = f"e{site.environment_id}-h{instance_id}".lower()
        given = self.access["broker"]
        values = {
            "RABBITMQ_HOST": link.here,
            "RABBITMQ_PORT": link.port,
            "RABBITMQ_USER": given["login"],
            "RABBITMQ_PASSWORD": given["password"],
            "RABBITMQ_VHOST": given["virtual_host"],
            "RABBITMQ_SSL": "false",
            "RABBITMQ_INSECURE": "false",
            "RABBITMQ_INPUT_QUEUE": self.queue,
            "RESULT_EXCHANGE": given["result_exchange"],
            "RESULT_QUEUE": given["result_routing_key"],
            "SIGNING_KEY": key,
        }
        text = CONFIG.read_text()
        for name, value in values.items():
            text = text.replace(f"%{name}%", str(value))
        text = text.replace("/var/murano/plans", str(self.folder / "plans"))
        text = text.replace("/var/log/murano-agent.log", str(self.folder / "agent.log"))
        text = text.replace("/etc/murano/certs/ca_certs", "")
        (self.folder / "agent.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        command = ["ip", "netns", "exec", self.link.name, str(AGENT), "--config-file", str(self.folder / "agent.conf")]
        with open(self.folder / "output.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, plan: dict[str, Any], plan_id: str | None = None, timeout: float = 120.0) -> dict[str, Any]:
        plan_id = plan_id or uuid.uuid4().hex
        stamped = {"ID": uuid.uuid4().hex, "Stamp": stamp(), "Name": "test", **plan}
        return self.site.agents.run(self.id, plan_id, stamped, timeout)

    def value(self, body: str, **parameters: Any) -> Any:
        result = self.run(
            {"FormatVersion": "2.0.0", "Body": body, "Parameters": parameters, "Scripts": {}, "Files": {}}
        )
        assert result["ErrorCode"] == 0, result
        return result["Body"]


@pytest.fixture
def server(site: Site, link: Link, tmp_path: pathlib.Path) -> Iterator[Server]:
    made = Server(site, link, tmp_path).start()
    yield made
    made.kill()


def as_user(access: dict[str, Any]) -> kombu.Connection:
    given = access["broker"]
    return kombu.Connection(
        hostname=BROKER.hostname,
        port=BROKER.port or 5672,
        userid=given["login"],
        password=given["password"],
        virtual_host=given["virtual_host"],
        transport="pyamqp",
    )


def test_plans_with_scripts_files_and_parameters_run_in_the_stock_agent(server: Server) -> None:
    plan = script_plan(
        "r = run(args.who)\nreturn [r.exitCode, r.stdout, r.stderr]",
        "cat data/note $(dirname $0)/../x; ls; echo $1 >&2",
    )
    plan["Scripts"]["run"]["Options"] = {"captureStdout": True, "captureStderr": True, "verifyExitcode": False}
    plan["Files"]["f2"] = {"Name": "data/note", "BodyType": "Base64", "Body": base64.b64encode(b"a note\n").decode()}
    plan["Scripts"]["run"]["Files"] = ["f2"]
    plan["Parameters"] = {"who": "Ann"}
    result = server.run(plan)
    assert result["ErrorCode"] == 0, result
    code, output, errors = result["Body"]
    assert code == 0
    assert output.splitlines()[0] == "a note"
    assert "run.sh" in output
    assert errors.endswith("Ann")


def test_a_script_that_fails_answers_with_its_exit_code_and_output(server: Server) -> None:
    plan = script_plan("run()", "echo out; echo err >&2; exit 3")
    plan["Scripts"]["run"]["Options"] = {"captureStdout": True, "captureStderr": True}
    result = server.run(plan)
    assert result["ErrorCode"] == 100
    assert result["Body"]["AdditionalInfo"] == {"exitCode": 3, "stdout": "out", "stderr": "err"}
    assert server.value("return 'the next one runs'") == "the next one runs"


def test_a_file_to_download_comes_from_its_server(server: Server, link: Link, tmp_path: pathlib.Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tool.sh").write_text("#!/bin/sh\necho downloaded\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"))

        def log_message(self, *_arguments: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer((link.here, 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        plan = script_plan("return run().stdout", "sh tool.sh/tool.sh", version="2.1.0")
        plan["Scripts"]["run"]["Options"] = {"captureStdout": True}
        url = f"http://{link.here}:{web.server_address[1]}/tool.sh"
        plan["Files"]["f2"] = {"Name": "tool.sh", "URL": url, "Type": "Downloadable"}
        plan["Scripts"]["run"]["Files"] = ["f2"]
        assert server.run(plan)["Body"] == "downloaded"
    finally:
        web.shutdown()
        web.server_close()


def test_a_plan_that_waits_for_its_server_runs_when_it_boots(site: Site, link: Link, tmp_path: pathlib.Path) -> None:
    late = Server(site, link, tmp_path)
    starter = threading.Timer(1.0, late.start)
    starter.start()
    try:
        assert late.value("return args.n + 1", n=1) == 2
    finally:
        starter.join()
        late.kill()


def test_the_agent_and_the_engine_come_back_after_the_network_was_gone(server: Server, link: Link) -> None:
    assert server.value("return 1") == 1
    link.cut()
    threading.Timer(1.0, link.mend).start()
    assert server.value("return 2") == 2


def test_a_worker_that_died_leaves_its_answer_to_the_next(server: Server, site: Site, tmp_path: pathlib.Path) -> None:
    class WorkerDied(Exception):
        pass

    marks, go = tmp_path / "marks", tmp_path / "go"
    body = (
        f"import os, time\nopen({str(marks)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(go)!r}):\n  time.sleep(0.05)\nreturn 'done'"
    )
    plan = {"FormatVersion": "2.0.0", "Body": body, "Scripts": {}, "Files": {}, "ID": "a", "Stamp": stamp()}

    def die() -> None:
        if marks.exists():
            raise WorkerDied

    with pytest.raises(WorkerDied):
        site.agents.run(server.id, "plan-1", plan, 120, die)
    go.touch()
    assert site.agents.run(server.id, "plan-1", plan, 120)["Body"] == "done"
    assert site.agents.run(server.id, "plan-1", plan, 120)["Body"] == "done"  # from the row
    assert marks.read_text() == "x"


def test_a_plan_published_twice_is_run_once(server: Server, site: Site, tmp_path: pathlib.Path) -> None:
    """The worker died between the broker's confirmation and its own note of it."""
    marks = tmp_path / "marks"
    body = f"open({str(marks)!r}, 'a').write('x')\nreturn 'done'"
    plan = {"FormatVersion": "2.0.0", "Body": body, "Scripts": {}, "Files": {}, "ID": "a", "Stamp": stamp()}
    assert site.agents.run(server.id, "plan-1", plan, 120)["Body"] == "done"
    with site.database.transaction() as session:
        row = session.get_one(rows.AgentPlan, "plan-1")
        row.state, row.result = rows.QUEUED, None
    site.agents.send(server.id, "plan-1", plan)
    assert server.value("return 'later'") == "later"
    assert marks.read_text() == "x"


def test_nobody_waits_for_a_plan_that_was_only_sent_and_it_runs(server: Server, tmp_path: pathlib.Path) -> None:
    body = f"open({str(tmp_path / 'mark')!r}, 'w').close()"
    plan = {"FormatVersion": "2.0.0", "Body": body, "Scripts": {}, "Files": {}, "ID": "b", "Stamp": stamp()}
    server.site.agents.send(server.id, "plan-2", plan)
    wait_until((tmp_path / "mark").exists)


def test_a_timeout_withdraws_the_plan_and_says_why(site: Site, link: Link, tmp_path: pathlib.Path) -> None:
    dead = Server(site, link, tmp_path)
    with pytest.raises(stored.AgentTimeout, match="is not connected to the broker; look at the server's boot log"):
        dead.run({"FormatVersion": "2.0.0", "Body": "return", "Scripts": {}, "Files": {}}, timeout=1.0)


def test_signed_plans_bear_the_engines_signature(site: Site, tmp_path: pathlib.Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    signed = dataclasses.replace(
        site.agents, sign=lambda queue, body: signing.signature(str(tmp_path / "key.pem"), queue, body)
    )
    access = signed.register(site.environment_id, PROJECT, "web")
    signed.send(access["agent_id"], "plan-1", {"ID": "a", "FormatVersion": "2.0.0", "Stamp": 1})
    queue = f"e{site.environment_id}-hweb"
    with as_user(access) as connection:
        message = connection.default_channel.basic_get(queue)
        assert message is not None
        signature = message.headers["signature"]
        salted = queue.encode() + (message.body if isinstance(message.body, bytes) else message.body.encode())
        key.public_key().verify(signature, salted, padding.PKCS1v15(), signing.hashes.SHA256())
        assert message.properties["message_id"] == "a"


# --- what a server may not do ----------------------------------------------------------------------------------------


def publish(access: dict[str, Any], body: bytes, *, exchange: str | None = None, key: str = "", **named: Any) -> None:
    with as_user(access) as connection:
        connection.transport_options = {"confirm_publish": True}
        kombu.Producer(connection.default_channel).publish(
            body,
            exchange=access["broker"]["result_exchange"] if exchange is None else exchange,
            routing_key=key,
            content_type="text/plain",
            content_encoding="utf-8",
            **named,
        )


def test_a_server_reads_and_writes_nothing_but_its_own(site: Site) -> None:
    mine = site.agents.register(site.environment_id, PROJECT, "mine")
    others = site.agents.register(site.environment_id, PROJECT, "others")
    forbidden = [
        lambda channel: channel.basic_consume(f"e{site.environment_id}-hothers"),
        lambda channel: channel.basic_get(mine["broker"]["result_routing_key"]),
        lambda channel: channel.queue_declare("more"),
        lambda channel: channel.queue_purge(f"e{site.environment_id}-hothers"),
        lambda channel: channel.exchange_declare("more", "direct"),
        lambda channel: channel.queue_delete(f"e{site.environment_id}-hmine"),
        lambda channel: channel.basic_publish_confirm(wire.Message(b"{}"), "", f"e{site.environment_id}-hothers"),
        lambda channel: channel.basic_publish_confirm(wire.Message(b"{}"), others["broker"]["result_exchange"], ""),
    ]
    for number, deed in enumerate(forbidden):
        with as_user(mine) as connection:
            error = None
            try:
                deed(connection.channel())
                connection.drain_events(timeout=10)
            except Exception as raised:
                error = raised
        assert isinstance(error, wire.exceptions.AccessRefused), (number, error)


def test_a_server_does_not_get_into_another_environment(site: Site) -> None:
    mine = site.agents.register(site.environment_id, PROJECT, "web")
    others = site.agents.register(add_environment(site.database), PROJECT, "web")
    stranger = {"broker": {**mine["broker"], "virtual_host": others["broker"]["virtual_host"]}}
    with pytest.raises(Exception, match=r"(?i)not_allowed|refused"), as_user(stranger) as connection:
        connection.connect()


def test_an_agent_answers_for_nobody_else(site: Site) -> None:
    liar = site.agents.register(site.environment_id, PROJECT, "liar")
    other = site.agents.register(site.environment_id, PROJECT, "other")
    plan = {"ID": "x", "FormatVersion": "2.0.0"}
    site.agents.send(other["agent_id"], "plan-1", plan)
    lie = json.dumps({"FormatVersion": "2.0.0", "SourceID": "x", "ErrorCode": 0, "Body": "a lie"}).encode()
    publish(liar, lie)
    with pytest.raises(stored.AgentTimeout):  # the lie is read here, and believed by nobody
        site.agents.run(liar["agent_id"], "plan-2", {"ID": "y"}, 3.0)
    publish(other, lie.replace(b"a lie", b"true"))
    assert site.agents.run(other["agent_id"], "plan-1", plan, 60)["Body"] == "true"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[1]",
        b"\xff\xfe",
        b'{"SourceID": "x", "ErrorCode": NaN}',
        b"[" * 200_000,
        b'{"SourceID": ["x"]}',
    ],
)
def test_what_is_no_result_is_dropped_and_the_next_one_counts(site: Site, body: bytes) -> None:
    access = site.agents.register(site.environment_id, PROJECT, "web")
    publish(access, body)
    good = {"FormatVersion": "2.0.0", "SourceID": "x", "ErrorCode": 0, "Body": 5}
    publish(access, json.dumps(good).encode())
    publish(access, json.dumps({**good, "Body": 6}).encode())  # an answer that comes twice counts once
    assert site.agents.run(access["agent_id"], "plan-1", {"ID": "x"}, 60)["Body"] == 5
    assert site.agents.run(access["agent_id"], "plan-1", {"ID": "x"}, 60)["Body"] == 5


def test_ten_megabytes_of_output_lose_their_middle_and_nothing_fails(server: Server) -> None:
    """The stock agent sends all of it; each control character takes six bytes in the message."""
    script = "echo first; head -c 10000000 /dev/zero | tr '\\0' '\\1'; echo last"
    plan = script_plan("return run().stdout", script)
    plan["Scripts"]["run"]["Options"] = {"captureStdout": True}
    result = server.run(plan)
    assert result["ErrorCode"] == 0, str(result)[:500]
    assert result["Body"].startswith("first\n")
    assert result["Body"].endswith("last")
    assert "characters left out" in result["Body"]
    assert len(json.dumps(result)) < 5 * 1024 * 1024
    assert server.value("return 'the next one runs'") == "the next one runs"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"SourceID": "x", "ErrorCode": 0, "Body": NaN}', "NaN is not JSON"),
        (b'{"SourceID": "x", "ErrorCode": "none"}', "ErrorCode: expected an integer"),
        (b'{"SourceID": "x", "ErrorCode": 0, "Body": ' + b"[" * 70 + b"]" * 70 + b"}", "nested deeper than 64 levels"),
        (b'{"SourceID": "x", "ErrorCode": 0, "Body": [' + b"[]," * 600_000 + b"0]}", "more than 500000 values"),
    ],
)
def test_an_answer_that_can_not_be_used_is_an_error_of_its_plan(site: Site, body: bytes, message: str) -> None:
    access = site.agents.register(site.environment_id, PROJECT, "web")
    publish(access, body, message_id="x")
    result = site.agents.run(access["agent_id"], "plan-1", {"ID": "x"}, 60)
    assert result["ErrorCode"] == 1
    assert message in result["Body"]["Message"]


def test_the_broker_refuses_a_message_larger_than_all_that_may_wait(site: Site) -> None:
    access = site.agents.register(site.environment_id, PROJECT, "web")
    with pytest.raises(wire.exceptions.MessageNacked):
        publish(access, b"x" * (broker.WAITING_BYTES + 1), message_id="x")
    publish(access, json.dumps({"SourceID": "x", "ErrorCode": 0, "Body": 1}).encode())
    assert site.agents.run(access["agent_id"], "plan-1", {"ID": "x"}, 60)["Body"] == 1


def test_a_flood_ends_at_the_broker_and_the_plan_is_answered(site: Site) -> None:
    access = site.agents.register(site.environment_id, PROJECT, "web")
    with as_user(access) as connection:
        producer = kombu.Producer(connection.default_channel)
        for _ in range(broker.WAITING_RESULTS + 500):
            producer.publish(b"{}", exchange=access["broker"]["result_exchange"], routing_key="")
    other = site.agents.register(add_environment(site.database), PROJECT, "web")
    publish(other, json.dumps({"SourceID": "z", "ErrorCode": 0, "Body": "untouched"}).encode())
    assert site.agents.run(other["agent_id"], "plan-3", {"ID": "z"}, 60)["Body"] == "untouched"
    with pytest.raises(stored.AgentTimeout):
        site.agents.run(access["agent_id"], "plan-1", {"ID": "x"}, 5.0)
    publish(access, json.dumps({"SourceID": "y", "ErrorCode": 0, "Body": 1}).encode())
    assert site.agents.run(access["agent_id"], "plan-2", {"ID": "y"}, 60)["Body"] == 1


# --- what is made is taken back --------------------------------------------------------------------------------------


def test_registering_again_changes_nothing(site: Site, management: broker.Management) -> None:
    first = site.agents.register(site.environment_id, PROJECT, "web")
    assert site.agents.register(site.environment_id, PROJECT, "web") == first
    assert "password" not in repr(site.agents.address)
    assert first["broker"]["login"] != management.user


def test_a_deleted_environment_loses_its_place_on_the_broker(site: Site, management: broker.Management) -> None:
    kept = site.agents.register(add_environment(site.database), PROJECT, "web")
    gone = site.agents.register(site.environment_id, PROJECT, "web")
    with site.database.transaction() as session:
        session.delete(session.get_one(catalog.db.environments.Environment, site.environment_id))
    sweeping = dataclasses.replace(site.agents, sweeps=amqp.Sweeps(0.0))
    sweeping.register(add_environment(site.database), PROJECT, "db")  # whoever comes next cleans up
    assert gone["broker"]["virtual_host"] not in management.vhosts(f"{site.agents.installation}-")
    assert site.agents.forget_what_is_gone() == []
    with pytest.raises(Exception, match=r"(?i)refused|not_allowed"), as_user(gone) as connection:
        connection.connect()
    users = requests.get(f"{MANAGEMENT}/api/users", auth=(management.user, management.password), timeout=30).json()
    names = [user["name"] for user in users]
    assert gone["broker"]["login"] not in names
    assert kept["broker"]["login"] in names


def test_forgetting_is_repeatable(site: Site, management: broker.Management) -> None:
    site.agents.register(site.environment_id, PROJECT, "web")
    for _ in range(2):
        site.agents.forget(site.environment_id)
    assert management.vhosts(f"{site.agents.installation}-") == []


def test_a_broker_that_refuses_the_engine_is_named(site: Site, management: broker.Management) -> None:
    stranger = dataclasses.replace(site.agents, management=dataclasses.replace(management, password="wrong"))
    with pytest.raises(broker.BrokerError, match=r"refused with 401.*login is an administrator"):
        stranger.register(site.environment_id, PROJECT, "web")
