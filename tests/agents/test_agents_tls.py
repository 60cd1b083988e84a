"""The way to the service: real TLS with a private authority, certificates that must not do, and a proxy."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import re
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import cheroot.ssl.builtin
import cheroot.wsgi
import pytest
from agents_world import ENVIRONMENT, PROJECT, Guest, Service, wait_until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engine import config
from engine.agents import configured, http

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; `pem` is its own."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        own = self._builder(self.name, self.key, NOW + DAY).add_extension(x509.BasicConstraints(True, None), True)
        self.pem = own.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: x509.Name, key: Any, ends: datetime.datetime) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        begins = ends - 2 * DAY
        return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)

    def certificate(self, folder: pathlib.Path, address: str, ends: datetime.datetime) -> tuple[str, str]:
        """Paths of a certificate for the address and its key."""
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the service")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = self._builder(subject, key, ends).add_extension(names, False).sign(self.key, hashes.SHA256())
        (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.fixture
def authority() -> Authority:
    return Authority("an authority of the operator's")


@pytest.fixture
def secure(service: Service) -> Iterator[Any]:
    """`secure(certificate, key)`: the same service over TLS; its URL."""
    servers: list[tuple[cheroot.wsgi.Server, threading.Thread]] = []

    def serve(certificate: str, key: str) -> str:
        server = cheroot.wsgi.Server(("127.0.0.1", 0), service.app, numthreads=6)
        server.ssl_adapter = cheroot.ssl.builtin.BuiltinSSLAdapter(certificate, key)
        server.expiration_interval = 0.05
        server.error_log = lambda *_arguments, **_named: None  # that guests hang up is what is tested
        server.prepare()
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"https://127.0.0.1:{server.bind_addr[1]}"

    yield serve
    service.app.close()
    for server, thread in servers:
        server.stop()
        thread.join()


@pytest.fixture
def new_guest_of(service: Service, tmp_path: pathlib.Path) -> Iterator[Any]:
    made: list[Guest] = []

    def make(url: str, **settings: Any) -> Guest:
        agents = http.HttpAgents(database=service.database, url=url, secret=b"x" * 32, settings=settings)
        guest = Guest(service, tmp_path / f"tls-{len(made)}", agents.register(ENVIRONMENT, PROJECT, f"i{len(made)}"))
        made.append(guest)
        return guest.start()

    yield make
    for guest in made:
        guest.kill()


def test_a_service_with_a_certificate_of_a_private_authority(
    secure: Any, authority: Authority, new_guest_of: Any, tmp_path: pathlib.Path
) -> None:
    url = secure(*authority.certificate(tmp_path / "good", "127.0.0.1", NOW + DAY))
    assert new_guest_of(url, ca=authority.pem.decode()).value("return 'over TLS'") == "over TLS"
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    assert new_guest_of(url, ca_file=str(tmp_path / "ca.pem")).value("return 'from a file'") == "from a file"


@pytest.mark.parametrize(
    ("address", "ends", "known", "reason"),
    [
        ("127.0.0.1", NOW - DAY, True, "certificate has expired"),
        ("192.0.2.1", NOW + DAY, True, "IP address mismatch"),
        ("127.0.0.1", NOW + DAY, False, "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_must_not_do_gets_no_token(
    secure: Any,
    authority: Authority,
    new_guest_of: Any,
    tmp_path: pathlib.Path,
    address: str,
    ends: datetime.datetime,
    known: bool,
    reason: str,
) -> None:
    url = secure(*authority.certificate(tmp_path / "bad", address, ends))
    trusted = authority if known else Authority("another authority")
    guest = new_guest_of(url, ca=trusted.pem.decode())
    wait_until(lambda: re.search(f"cannot be reached: .*{reason}", guest.log()))
    assert "enrolled" not in guest.log()


def test_an_authority_that_is_none_is_said_at_once(new_guest_of: Any) -> None:
    guest = new_guest_of("https://127.0.0.1:1", ca="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    assert guest.process is not None
    assert guest.process.wait(60) == 2
    assert "no certificates of an authority (PEM)" in guest.log()


class Proxy:
    """Forwards CONNECT, and remembers where to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.targets: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            request = client.recv(65536)
            if not request:
                return
            target = request.split()[1].decode()
            self.targets.append(target)
            host, _, port = target.partition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    for ready in select.select([client, server], [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        (server if ready is client else client).sendall(data)


def test_a_proxy_is_used_when_it_is_configured_and_not_because_of_the_environment(
    service: Service,
    secure: Any,
    authority: Authority,
    new_guest_of: Any,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = secure(*authority.certificate(tmp_path / "good", "127.0.0.1", NOW + DAY))
    proxy = Proxy()
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert new_guest_of(url, ca=authority.pem.decode()).value("return 1") == 1
    assert proxy.targets == []
    monkeypatch.delenv("https_proxy")
    monkeypatch.delenv("HTTPS_PROXY")
    assert new_guest_of(url, ca=authority.pem.decode(), proxy=proxy.url).value("return 2") == 2
    assert proxy.targets
    assert set(proxy.targets) == {url.removeprefix("https://")}
    proxy.listener.close()


def test_options_of_the_engine_become_settings_of_agents(
    service: Service, authority: Authority, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(b"# of the operator\n" + authority.pem + b"\n# ends\n")
    options = {
        "agent_url": "https://catalog",
        "agent_secret": "x" * 32,
        "agent_ca_certs": str(tmp_path / "ca.pem"),
        "agent_proxy": "http://proxy:3128",
    }
    agents = configured.agents(config.load(overrides={"engine": options}), service.database)
    access = agents.register(ENVIRONMENT, PROJECT, "web")
    assert (access["ca"], access["proxy"]) == (authority.pem.decode(), "http://proxy:3128")
    for content in (b"no certificate", b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(ValueError, match=r"\[engine\] agent_ca_certs: expected a PEM file with certificates"):
            configured.agents(config.load(overrides={"engine": options}), service.database)
