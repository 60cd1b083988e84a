"""Servers of a test's own that can be restarted without harm: PostgreSQL, MariaDB, RabbitMQ, and a cable to cut."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A PostgreSQL cluster in a temporary folder. As it does not run as root, root needs the account `postgres`."""

    def __init__(self) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
        program = found[-1] if found else shutil.which("initdb")
        if program is None:
            pytest.skip("no PostgreSQL server is installed here")
        self._bin = pathlib.Path(program).parent
        self._data = pathlib.Path(tempfile.mkdtemp(prefix="chandlery-postgresql-"))  # where another account may go
        self._options: dict = {"cwd": "/", "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no account `postgres`")
            os.chown(self._data, account.pw_uid, account.pw_gid)
            self._options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.port = free_port()
        self._run("initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1 -c max_connections=400"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "120", "-o", settings, "-l", self._data / "log", "start")

    def crash(self) -> None:
        """As if the machine had lost its power."""
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "120", "-m", "immediate", "stop")

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.crash()
        shutil.rmtree(self._data)

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run([self._bin / program, *map(str, arguments)], **self._options)


class MariaDb:
    """A MariaDB server on a port of its own. As it does not run as root, root needs the account `mysql`."""

    def __init__(self) -> None:
        self._program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        install = shutil.which("mariadb-install-db")
        if install is None or not os.path.exists(self._program):
            pytest.skip("no MariaDB server is installed here")
        self._data = pathlib.Path(tempfile.mkdtemp(prefix="chandlery-mariadb-"))  # where another account may go
        self._options: dict = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:
            try:
                account = pwd.getpwnam("mysql")
            except KeyError:
                pytest.skip("MariaDB does not run as root, and there is no account `mysql`")
            os.chown(self._data, account.pw_uid, account.pw_gid)
            self._options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.port = free_port()
        authentication = "--auth-root-authentication-method=normal"
        subprocess.run(
            [install, "--no-defaults", f"--datadir={self._data}", authentication, "--skip-test-db"],
            check=True,
            **self._options,
        )
        self._process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/mysql"

    def start(self) -> None:
        settings = [
            "--no-defaults",
            f"--datadir={self._data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self._data}/socket",
            "--max-connections=400",
            "--innodb-buffer-pool-size=64M",
        ]
        self._process = subprocess.Popen([self._program, *settings], **self._options)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(5)
                if probe.recv(1):  # it speaks first
                    return
            if self._process.poll() is not None:
                raise AssertionError(f"MariaDB ended with status {self._process.returncode} instead of starting")
            time.sleep(0.1)
        raise AssertionError("MariaDB did not answer in time")

    def crash(self) -> None:
        """As if the machine had lost its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.crash()
        shutil.rmtree(self._data)


class Rabbit:
    """A RabbitMQ node of its own, on a port of its own, that knows nobody."""

    def __init__(self, folder: pathlib.Path) -> None:
        if shutil.which("rabbitmq-server") is None:
            pytest.skip("no RabbitMQ server is installed here")
        self._folder = folder / "rabbitmq"
        self._folder.mkdir()
        self.port = free_port()
        (self._folder / "enabled_plugins").write_text("[].")
        (self._folder / "rabbitmq.conf").write_text(f"listeners.tcp.default = {self.port}\n")
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"chaos{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }
        program = pathlib.Path(shutil.which("rabbitmq-server") or "").resolve()
        own = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's on PATH changes the account first
        self._program = own if own.exists() else program
        self._process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        with open(self._folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                [self._program], env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"RabbitMQ did not start: {(self._folder / 'output').read_text()[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                if probe.recv(1):
                    return
            time.sleep(0.2)
        raise AssertionError("RabbitMQ did not answer in time")

    def crash(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    close = crash


class Cable:
    """Forwards TCP connections until it is cut: then it drops them and refuses new ones, until it is mended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = free_port()
        self._open: set[socket.socket] = set()
        self._mutex = threading.Lock()
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64, reuse_port=False)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._mutex:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _address = listener.accept()
                far = socket.create_connection(self._target, 30)
            except OSError:
                return
            far.settimeout(None)
            with self._mutex:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
